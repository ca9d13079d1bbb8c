"""Edges between classes, dense and sparse."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from fewshot.graph.vectors import PIECE


@torch.no_grad()
def nearest_classes(
    prototypes: Float[Tensor, "B N D"],
    mask: Bool[Tensor, "B N"],
    k: int,
    prior: Float[Tensor, "B N N"] | None = None,
) -> Int64[Tensor, "B N k"]:
    """Find the k nearest other classes of each class, by cosine plus ``prior``; exact, some rows at a time.

    Args:
        prototypes: unit vectors **[B, N, D]**.
        mask: **[B, N]**, the classes that may be neighbours.
        k: neighbours a class; at most N - 1.
        prior: similarity from outside **[B, N, N]**, added to the cosine; default None.

    Returns:
        Class indices **[B, N, k]**, nearest first; -1 where there were fewer than k.

    >>> nearest_classes(torch.eye(3)[None, [0, 0, 1]], torch.tensor([[True, True, False]]), 2)
    tensor([[[ 1, -1],
             [ 0, -1],
             [ 0,  1]]])
    """
    b, n, _ = prototypes.shape
    columns, found = torch.arange(n, device=prototypes.device), []
    rows = max(1, PIECE // (b * n))
    for part in columns.split(rows):
        scores = prototypes[:, part] @ prototypes.transpose(1, 2)  # [B, rows, N]
        if prior is not None:
            scores += prior[:, part]
        scores.masked_fill_((part[:, None] == columns) | ~mask[:, None, :], -torch.inf)
        best = scores.topk(k, dim=-1)
        found.append(best.indices.masked_fill_(best.values == -torch.inf, -1))
    return torch.cat(found, dim=1)


class Edges(NamedTuple):
    """Dependencies as a sparse graph of the B·N classes; class i of episode b is node b·N + i.

    ``edge_index`` int64 **[2, E]**: from the class listened to (row 0) to the one that listens (row 1);
    ``weight`` **[E]**: how much; the weights into a node sum to 1.
    """

    edge_index: Int64[Tensor, "2 E"]
    weight: Float[Tensor, " E"]
