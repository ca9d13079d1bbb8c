"""What the learned methods share: padding, vectors of one length, graphs of one query or of all."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.graph.vectors import normalize

PAIRS = 60_000  # of nodes compared at a time when no gradient is kept


def check_way(support: Tensor, way: int) -> None:
    """Raise an InputError if a method made for episodes of one way is given another."""
    if support.shape[1] != way:
        raise InputError(
            f"support: expected {way} classes, the way that the method was made for, got {support.shape[1]}"
        )


def supports_there(
    support: Shaped[Tensor, "B N K *item"],
    support_mask: Bool[Tensor, "B N K"] | None,
    class_mask: Bool[Tensor, "B N"] | None,
) -> Bool[Tensor, "B N K"]:
    """Which supports are not padding."""
    there = torch.ones(support.shape[:3], dtype=torch.bool, device=support.device)
    if support_mask is not None:
        there = there & support_mask
    return there if class_mask is None else there & class_mask.unsqueeze(-1)


def mask_classes(
    logits: Float[Tensor, "B M N"], class_mask: Bool[Tensor, "B N"] | None
) -> Float[Tensor, "B M N"]:
    """-inf for classes that are padding."""
    return logits if class_mask is None else logits.masked_fill(~class_mask.unsqueeze(1), -torch.inf)


def unit_variance(
    x: Float[Tensor, "*batch D"], there: Bool[Tensor, "*batch"] | None = None
) -> Float[Tensor, "*batch D"]:
    """Vectors scaled to length √D, so that their entries are about 1; zero for padding.

    >>> unit_variance(torch.tensor([[3.0, 3.0, 3.0, 3.0], [torch.nan] * 4]), torch.tensor([True, False]))
    tensor([[1., 1., 1., 1.],
            [0., 0., 0., 0.]])
    """
    if there is not None:
        x = x.masked_fill(~there.unsqueeze(-1), 0.0)
    return normalize(x) * x.shape[-1] ** 0.5


def graphs(
    query: Shaped[Tensor, "B M *node"], support: Shaped[Tensor, "B S *node"], joint: bool = False
) -> Iterator[Shaped[Tensor, "G T *node"]]:
    """Nodes of graphs, queries before supports: one query each, or with ``joint`` all of an episode.

    When no gradient is kept they come a few graphs at a time, so that their T² pairs fit into memory.

    >>> list(graphs(torch.tensor([[1, 2]]), torch.tensor([[7, 8, 9]])))
    [tensor([[1, 7, 8, 9],
            [2, 7, 8, 9]])]
    >>> list(graphs(torch.tensor([[1, 2]]), torch.tensor([[7, 8, 9]]), joint=True))
    [tensor([[1, 2, 7, 8, 9]])]
    """
    asked = query if joint else query.flatten(0, 1).unsqueeze(1)  # [G, M or 1, ...]
    size = max(1, PAIRS // (asked.shape[1] + support.shape[1]) ** 2)
    numbers = torch.arange(len(asked), device=query.device)
    for some in numbers.split(len(asked) if torch.is_grad_enabled() else size):
        episodes = some // (len(asked) // len(query))
        yield torch.cat([asked[some], support[episodes]], 1)
