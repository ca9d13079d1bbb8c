"""SimpleShot: nearest mean of centred, normalised features."""

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from fewshot.methods.nearest_centroid import nearest_centroid

# With one support per class -5 d² equals the prototypes' 10 cos up to a constant, as d² = 2 - 2 cos.
SCALE = 5.0


def simpleshot(
    support: Float[Tensor, "B N K D"],
    query: Float[Tensor, "B M D"],
    *,
    support_mask: Bool[Tensor, "B N K"] | None = None,
    class_mask: Bool[Tensor, "B N"] | None = None,
    **_: object,
) -> Float[Tensor, "B M N"]:
    r"""Classify by SimpleShot with its CL2N features (Wang et al., arXiv:1911.04623, 2019).

    With features already minus the base classes' mean (C), and :math:`\hat x = x / \lVert x \rVert` (L2N).
    Unlike a prototype of `prototypes` the mean is not normalised again; with one support per class the two
    agree.

    .. math::  \operatorname{logit}_{mi} = -5 \; \lVert \hat q_m - \operatorname{mean}_k \hat s_{ik} \rVert^2

    Called as all methods are, see `FewShotCall`; it has no options of its own.

    >>> import torch
    >>> support = torch.tensor([[[[1.0, 0.0]], [[0.0, 2.0]]]])
    >>> simpleshot(support, torch.tensor([[[3.0, 4.0]]])).round(decimals=3)
    tensor([[[-4., -2.]]])
    """
    return SCALE * nearest_centroid(
        normalize(support, dim=-1),
        normalize(query, dim=-1),
        support_mask=support_mask,
        class_mask=class_mask,
    )
