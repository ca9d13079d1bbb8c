"""What a class graph computes with: unit vectors, masks without gaps, and facts in its own precision."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fewshot.graph.vectors import EPSILON, normalize


class Inputs(NamedTuple):
    """The images of B episodes as the graph computes with them."""

    support: Float[Tensor, "B N K D"]  # of length 1; zeros for padding
    mask: Bool[Tensor, "B N K"]  # supports of classes that take part
    query: Float[Tensor, "B M D"]  # of length 1, or as they came; zeros for padding
    seen: Float[Tensor, "B M 1"]  # 0 for padding
    length: Float[Tensor, "B M 1"] | None  # of the queries, if they are as they came


def prepare(
    support: Tensor,
    query: Tensor,
    support_mask: Tensor | None,
    class_mask: Tensor | None,
    query_mask: Tensor | None,
    kind: torch.dtype,
    unit: bool = True,
) -> Inputs:
    """Normalise, and take padding out: whatever it holds, even nan, must not matter.

    Args:
        support, query: features **[B, N, K, D]** and **[B, M, D]**.
        support_mask, class_mask, query_mask: bool **[B, N, K]**, **[B, N]**, **[B, M]** or None.
        kind: the precision to compute in; cosines in half precision would be too coarse.
        unit: whether to normalise the queries; where each is used once, dividing by their lengths afterwards
            saves writing all of them once more.

    >>> inputs = prepare(torch.tensor([[[[3.0, 4.0]]]]), torch.ones(1, 2, 2), None, None, None, torch.float32)
    >>> inputs.support.flatten(), inputs.mask.flatten(), inputs.seen.flatten()
    (tensor([0.6000, 0.8000]), tensor([True]), tensor([1., 1.]))
    """
    support, query = support.to(kind), query.to(kind)
    mask = support.new_ones(support.shape[:3], dtype=torch.bool) if support_mask is None else support_mask
    if class_mask is not None:
        mask = mask & class_mask[..., None]
    support = normalize(support.masked_fill(~mask[..., None], 0.0))
    query = query if query_mask is None else query.masked_fill(~query_mask[..., None], 0.0)
    seen = query.new_ones(query.shape[:2]) if query_mask is None else query_mask.to(kind)
    length = None if unit else query.norm(dim=-1, keepdim=True).clamp_min(EPSILON)
    return Inputs(support, mask, normalize(query) if unit else query, seen[..., None], length)
