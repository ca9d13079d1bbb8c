"""The reference of all comparisons: nearest prototype by cosine."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from fewshot.graph.vectors import EPSILON

SCALE = 10.0  # from cosines to logits; the usual start of a cosine classifier


class Scale(NamedTuple):
    r"""An inverse temperature that depends on shots and ways, so that probabilities are calibrated.

    .. math:: \sigma = e^{\theta_0} K^{\theta_1} (N / 5)^{\theta_2}

    The defaults were fitted on classes that their backbones did not see, photographs, by
    ``experiments/prototype_scale.py``; a training fits its own on its validation classes.

    Attributes:
        log: at one shot and five ways.
        shot, way: powers of the mean number of supports per class, and of the number of classes.
    """

    log: float = 1.7579
    shot: float = 0.2776
    way: float = 0.0028

    def at(self, shot: Tensor, way: Tensor) -> Tensor:
        """The scale of episodes.

        >>> Scale(2.0, 0.5, 0.0).at(torch.tensor(4.0), torch.tensor(5.0)).log()
        tensor(2.6931)
        """
        return (self.log + self.shot * shot.log() + self.way * (way / 5).log()).exp()


USUAL = Scale()


def cosines(
    support: Float[Tensor, "B N K D"],
    query: Float[Tensor, "B M D"],
    support_mask: Bool[Tensor, "B N K"] | None = None,
) -> Float[Tensor, "B M N"]:
    """The cosine of each query to the mean of each class's normalised supports.

    >>> cosines(torch.tensor([[[[1.0, 0.0]], [[0.0, 2.0]]]]), torch.tensor([[[3.0, 4.0]]]))
    tensor([[[0.6000, 0.8000]]])
    """
    vectors = normalize(support, dim=-1)
    if support_mask is not None:
        vectors = vectors.masked_fill(~support_mask.unsqueeze(-1), 0.0)
    # [B, N, D]; normalised, so the sum will do for the mean, and one support is its own mean.
    centres = vectors[:, :, 0] if support.shape[2] == 1 else normalize(vectors.sum(dim=2), dim=-1)
    # Dividing by the queries' lengths afterwards saves writing all queries once more.
    lengths = query.norm(dim=-1, keepdim=True).clamp_min(EPSILON)  # [B, M, 1]
    return query @ centres.transpose(1, 2) / lengths


def prototypes(
    support: Float[Tensor, "B N K D"],
    query: Float[Tensor, "B M D"],
    *,
    support_mask: Bool[Tensor, "B N K"] | None = None,
    class_mask: Bool[Tensor, "B N"] | None = None,
    scale: Scale | float = USUAL,
    **_: object,
) -> Float[Tensor, "B M N"]:
    r"""Classify each query by its cosine to the classes' prototypes (after Snell et al., NIPS 2017).

    With features already minus the base classes' mean, and :math:`\hat x = x / \lVert x \rVert`:

    .. math::  c_i = \widehat{\operatorname{mean}_k \hat s_{ik}}, \qquad
               \operatorname{logit}_{mi} = \sigma \; \hat q_m \cdot c_i

    Called as all methods are, see `FewShotCall`; further it takes

    Args:
        scale: from cosines to logits, a number or a `Scale`.

    >>> support = torch.tensor([[[[1.0, 0.0]], [[0.0, 2.0]]]])
    >>> prototypes(support, torch.tensor([[[3.0, 4.0]]]), scale=10.0)
    tensor([[[6., 8.]]])
    """
    found = cosines(support, query, support_mask)
    factor = _factor(support, support_mask, class_mask, scale) if isinstance(scale, Scale) else scale
    logits: Tensor = factor * found
    if class_mask is not None:
        logits = logits.masked_fill(~class_mask.unsqueeze(1), -torch.inf)
    return logits


def _factor(
    support: Float[Tensor, "B N K D"],
    support_mask: Bool[Tensor, "B N K"] | None,
    class_mask: Bool[Tensor, "B N"] | None,
    scale: Scale,
) -> Float[Tensor, "B 1 1"] | float:
    """The scale of each episode **[B, 1, 1]**, or one number where all supports and classes are there."""
    there = support_mask
    if class_mask is not None:
        rows = class_mask.unsqueeze(-1)
        there = rows.expand(support.shape[:3]) if there is None else there & rows
    if there is None:
        _, n, k, _ = support.shape
        return math.exp(scale.log + scale.shot * math.log(k) + scale.way * math.log(n / 5))
    way = there.any(-1).sum(-1).clamp_min(1).to(torch.promote_types(support.dtype, torch.float32))
    shot = (there.sum((1, 2)) / way).clamp_min(1)
    return scale.at(shot, way).to(support)[:, None, None]
