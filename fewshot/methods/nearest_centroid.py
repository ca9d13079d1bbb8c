"""Nearest class mean by Euclidean distance."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def nearest_centroid(
    support: Float[Tensor, "B N K D"],
    query: Float[Tensor, "B M D"],
    *,
    support_mask: Bool[Tensor, "B N K"] | None = None,
    class_mask: Bool[Tensor, "B N"] | None = None,
    **_: object,
) -> Float[Tensor, "B M N"]:
    r"""Classify each query by its distance to the classes' means, as scikit-learn's ``NearestCentroid`` does.

    The features are used as they are, not normalised (Tibshirani et al., PNAS 2002, without shrinkage).

    .. math::  \operatorname{logit}_{mi} = - \lVert q_m - \operatorname{mean}_k s_{ik} \rVert^2

    Called as all methods are, see `FewShotCall`; it has no options of its own.

    >>> support = torch.tensor([[[[0.0, 0.0], [2.0, 0.0]], [[4.0, 4.0], [4.0, 6.0]]]])
    >>> nearest_centroid(support, torch.tensor([[[1.0, 1.0]]]))
    tensor([[[ -1., -25.]]])
    """
    if support_mask is None:
        centres = support.mean(dim=2)
    else:
        counts = support_mask.sum(dim=2, keepdim=True).clamp_min(1)
        centres = support.masked_fill(~support_mask.unsqueeze(-1), 0.0).sum(dim=2) / counts
    logits = -torch.cdist(query, centres).square()
    if class_mask is not None:
        logits = logits.masked_fill(~class_mask.unsqueeze(1), -torch.inf)
    return logits
