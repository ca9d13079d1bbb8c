"""How far relations are followed where images are unlike those that the known classes were learned from.

A message from known classes says where a class lies in photographs. In drawings the same class lies
elsewhere: the message is still right about what the class is, but a poorer guess of its prototype, which the
class graph's own weights, found on photographs, do not know.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fewshot.graph.class_graph import GraphOutput
from fewshot.graph.message_weight import affinity, relative
from fewshot.graph.vectors import normalize

USUAL_CLASSES = 5.0  # how many classes the usual agreement counts as, next to those of the episode
POWER = 4.0
WHOLE = 0.9  # a fit from which the graph's own judgement is not touched
DOUBTED = 0.3  # belief below which a class's relations are left out instead


def domain_fit(
    support: Float[Tensor, "N K D"],
    mask: Bool[Tensor, "N K"],
    known: Float[Tensor, "C D"],
    dependencies: Float[Tensor, "N C"],
    usual: float,
) -> float:
    r"""How well messages from known classes predict the supports, from 0 to 1 (as well as usual, or better).

    With the dependencies :math:`A`, messages :math:`m_i = \sum_c A_{ic} \mu_c` and the `affinity` :math:`u`
    of the supports to the known classes, over the N classes with supports and relations:

    .. math::
        r = \frac{\sum_i \sum_c A_{ic} u_{ic}}{a \sum_i \lVert m_i \rVert^2}, \qquad
        \text{fit} = \operatorname{clip}\left(\frac{N r + 5}{N + 5}\right)^4

    Args:
        support: after the transform; normalised here.
        mask: False for padding.
        known: the known classes' prototypes, of length 1.
        dependencies: of the classes on the known ones; rows of 0 for classes without relations.
        usual: a, the agreement of the model's usual images in these units.

    >>> known = torch.eye(4)
    >>> domain_fit(known[:2, None], torch.ones(2, 1).bool(), known, known[:2], usual=1.7) > 0.99
    True
    """
    there = mask.any(-1) & (dependencies.sum(-1) > 0)
    if not there.any():
        return 1.0
    sums = (normalize(support) * mask[..., None]).sum(1)[there]
    near, weight = affinity(relative(sums, known)[None])[0], dependencies[there]
    agreement, power = (weight * near).sum(), usual * (weight @ known).square().sum()
    count = int(there.sum())
    ratio = (count * float(agreement / power.clamp_min(1e-9)) + USUAL_CLASSES) / (count + USUAL_CLASSES)
    return min(max(ratio, 0.0), 1.0) ** POWER


def followed(
    output: GraphOutput, relations: Float[Tensor, "N C"], mask: Bool[Tensor, "N K"], fit: float
) -> tuple[Float[Tensor, "N C"], float]:
    """The relations and the belief of a second pass, for images that fit less than usual.

    Args:
        output: of the first pass, in which the graph judged the relations of one episode.
        relations: of its N classes.
        mask: of their supports; a class without any keeps its relations.
        fit: as `domain_fit` gives it.
    """
    assert output.belief is not None
    belief, seen = output.belief[0], mask.any(-1)
    doubted = seen & (belief < DOUBTED)
    kept = belief[seen & ~doubted & (belief > 0)]
    mean = float(kept.mean()) if len(kept) else 1.0
    return torch.where(doubted[:, None], torch.nan, relations), max(mean * fit, 1e-3)
