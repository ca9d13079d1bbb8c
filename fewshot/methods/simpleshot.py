"""SimpleShot: nearest mean of centred, normalised features."""

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from fewshot.methods.nearest_centroid import nearest_centroid

# With one support a class -5 d² is the prototypes' 10 cos but for a constant, as d² = 2 - 2 cos.
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
    Unlike a prototype of `prototypes` the mean is not normalised again; with one support a class the two are
    alike.

    .. math::  \operatorname{logit}_{mi} = -5 \; \lVert \hat q_m - \operatorname{mean}_k \hat s_{ik} \rVert^2

    Args:
        support: labelled features **[B, N, K, D]**.
        query: features to classify **[B, M, D]**.
        support_mask: bool **[B, N, K]**, False where a support is padding; None: all are there.
        class_mask: bool **[B, N]**, False where a class is padding; its logits are -inf.
        **_: further options of the class graph's call (joint, evidence, ...), which change nothing here.

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
