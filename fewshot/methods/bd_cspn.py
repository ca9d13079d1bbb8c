"""BD-CSPN: nearest prototype, after the queries have rectified the prototypes."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import one_hot

from fewshot.graph.vectors import masked_softmax, normalize
from fewshot.methods.prototypes import SCALE
from fewshot.methods.shared.ready import Ready, joint_method, mean


@joint_method
def bd_cspn(
    ready: Ready,
    *,
    sharpness: float = 10.0,
) -> Float[Tensor, "B M N"]:
    r"""Classify by prototypes that all queries have rectified (BD-CSPN, Liu et al., ECCV 2020).

    With the prototypes :math:`p'` of `rectified_prototypes`:

    .. math:: \operatorname{logit}_{mi} = 10 \cos(q_m, p'_i)

    Args:
        ready: the episodes; callers give ``support`` and ``query`` in its place, as `FewShotCall` has it.
        sharpness: epsilon, the scale of the weights' cosines; default 10.

    >>> support = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    >>> bd_cspn(support, torch.tensor([[[4.0, 3.0], [3.0, 4.0]]])).argmax(-1)
    tensor([[0, 1]])
    """
    prototypes = rectified_prototypes(ready, sharpness)
    logits = SCALE * ready.query @ normalize(prototypes).mT
    return logits.masked_fill(~ready.classes[:, None], -torch.inf)


def rectified_prototypes(ready: Ready, sharpness: float) -> Float[Tensor, "B N D"]:
    r"""Prototypes that are less biased by the choice of the supports.

    All queries are shifted by one vector, so that their mean is the supports' (cross-class bias). Each is
    given to the class of its nearest prototype :math:`p`; with :math:`X_c` the supports and queries of class
    c, the prototype becomes their weighted mean (intra-class bias):

    .. math::
        p'_c = \frac{1}{|X_c|} \sum_{x \in X_c} w_c(x) \, x, \qquad
        w_c(x) = \frac{e^{\varepsilon \cos(x, p_c)}}{\sum_j e^{\varepsilon \cos(x, p_j)}}

    The weights compare classes, as in the evaluations of Ziko et al. (2020) and Veilleux et al. (2021).
    Weights that compare the members of a class would leave one-shot prototypes where they are: a single
    support has cosine 1 to its prototype, and no query comes near that.
    A single query, shifted, is the supports' mean: it adds no information.
    """
    shift = mean(ready.support, ready.labelled) - mean(ready.query, ready.seen)  # [B, 1, D]
    everything = torch.cat([ready.support, ready.query + shift], dim=1)
    cosines = normalize(everything) @ normalize(mean(ready.support, ready.labels)).mT
    weights = masked_softmax(sharpness * cosines, ready.classes[:, None])
    s, n = ready.labels.shape[1:]
    given = one_hot(weights[:, s:].argmax(-1), n) * ready.seen  # [B, M, N]
    members = torch.cat([ready.labels, given], dim=1)
    return (members * weights).mT @ everything / members.sum(1)[..., None].clamp_min(1.0)
