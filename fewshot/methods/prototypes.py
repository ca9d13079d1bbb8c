"""The reference of all comparisons: nearest prototype by cosine."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from fewshot.graph.vectors import EPSILON

SCALE = 10.0  # from cosines to logits; the usual start of a cosine classifier


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

    Called as all methods are, see `FewShotCall`; it has no options of its own.

    >>> support = torch.tensor([[[[1.0, 0.0]], [[0.0, 2.0]]]])
    >>> prototypes(support, torch.tensor([[[3.0, 4.0]]]))
    tensor([[[6., 8.]]])
    """
    vectors = normalize(support, dim=-1)
    if support_mask is not None:
        vectors = vectors.masked_fill(~support_mask.unsqueeze(-1), 0.0)
    centres = normalize(vectors.sum(dim=2), dim=-1)  # [B, N, D]; normalised, so the sum will do for the mean
    # Dividing by the queries' lengths afterwards saves writing all queries once more.
    lengths = query.norm(dim=-1, keepdim=True).clamp_min(EPSILON)  # [B, M, 1]
    logits = SCALE * (query @ centres.transpose(1, 2) / lengths)
    if class_mask is not None:
        logits = logits.masked_fill(~class_mask.unsqueeze(1), -torch.inf)
    return logits
