"""The yardstick: nearest prototype by cosine."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from fewshot.graph.vectors import EPSILON

SCALE = 10.0  # turns cosines into logits; where cosine classifiers usually start


def prototypes(
    support: Float[Tensor, "B N K D"],
    query: Float[Tensor, "B M D"],
    *,
    support_mask: Bool[Tensor, "B N K"] | None = None,
    class_mask: Bool[Tensor, "B N"] | None = None,
    **_: object,
) -> Float[Tensor, "B M N"]:
    r"""Classify each query by its cosine to the classes' prototypes (after Snell et al., NIPS 2017).

    With features already minus the base classes' mean, and :math:`\hat x = x / \lVert x \rVert`:

    .. math::  c_i = \widehat{\operatorname{mean}_k \hat s_{ik}}, \qquad
               \operatorname{logit}_{mi} = 10 \; \hat q_m \cdot c_i

    Args:
        support: labelled features **[B, N, K, D]**.
        query: features to classify **[B, M, D]**.
        support_mask: bool **[B, N, K]**, False where a support is padding; None: all are there.
        class_mask: bool **[B, N]**, False where a class is padding; its logits are -inf.
        **_: further options of the class graph's call (joint, evidence, ...), which change nothing here.

    >>> support = torch.tensor([[[[1.0, 0.0]], [[0.0, 2.0]]]])
    >>> prototypes(support, torch.tensor([[[3.0, 4.0]]]))
    tensor([[[6., 8.]]])
    """
    vectors = normalize(support, dim=-1)
    if support_mask is not None:
        vectors = vectors.masked_fill(~support_mask.unsqueeze(-1), 0.0)
    centres = normalize(vectors.sum(dim=2), dim=-1)  # [B, N, D]; normalised, so the sum does for the mean
    # The queries' lengths are divided by afterwards, which saves writing all queries once more.
    lengths = query.norm(dim=-1, keepdim=True).clamp_min(EPSILON)  # [B, M, 1]
    logits = SCALE * (query @ centres.transpose(1, 2) / lengths)
    if class_mask is not None:
        logits = logits.masked_fill(~class_mask.unsqueeze(1), -torch.inf)
    return logits
