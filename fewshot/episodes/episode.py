"""A batch of episodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

from fewshot.core.transfer import send


@dataclass(frozen=True, eq=False, kw_only=True)
class Episode:
    """B episodes of N classes, with K supports per class and M queries in all.

    If ways or shots differ between episodes, all are padded to the largest: in padding, indices, labels and
    classes are −1, masks False, shares 0, and `support` and `query` hold the data's first item. A mask is
    None if nothing is padded. Queries of unknown classes come after the others; their label is −1 as well.

    Args:
        support, query: the items, ``[B,N,K,...]`` and ``[B,M,...]``; None if they were not gathered.
        query_labels: each query's class, as a position ``0..N-1`` in `classes`.
        classes: the classes, as numbered in the data set.
        support_index, query_index: the items' positions in the data set.
        support_mask, class_mask, query_mask: False in padding.
        proportions: each class's share of the query set; the shares of an episode sum to 1.
        support_labels: each support's true class, a position ``0..N-1``; with label noise not always its row.
        numbers: the episodes' numbers in the sampler's sequence.
        unknown: True for a query that is of none of the episode's classes; None: there are no such queries.
    """

    support: Shaped[Tensor, "B N K *item"] | None = None
    query: Shaped[Tensor, "B M *item"] | None = None
    query_labels: Int64[Tensor, "B M"]
    classes: Int64[Tensor, "B N"]
    support_index: Int64[Tensor, "B N K"]
    query_index: Int64[Tensor, "B M"]
    support_mask: Bool[Tensor, "B N K"] | None = None
    class_mask: Bool[Tensor, "B N"] | None = None
    query_mask: Bool[Tensor, "B M"] | None = None
    proportions: Float[Tensor, "B N"]
    support_labels: Int64[Tensor, "B N K"] | None = None
    numbers: Int64[Tensor, " B"] | None = None
    unknown: Bool[Tensor, "B M"] | None = None

    def __len__(self) -> int:
        """B, the number of episodes."""
        return len(self.classes)

    @property
    def asked(self) -> Bool[Tensor, "B M"] | None:
        """True for a query of one of the episode's classes; None if all are."""
        if self.unknown is None:
            return self.query_mask
        return ~self.unknown if self.query_mask is None else self.query_mask & ~self.unknown

    def to(self, device: torch.device | str) -> Episode:
        """The same episodes on a device."""
        return self._each(lambda field: send(field, device))

    def _each(self, function: Callable[[Tensor], Tensor]) -> Episode:
        present = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
        return replace(self, **{name: function(value) for name, value in present.items()})

    def _rows(self, rows: Int64[Tensor, " some"] | slice) -> Episode:
        return self._each(lambda field: field[rows].clone())

    @staticmethod
    def _join(parts: Sequence[Episode]) -> Episode:
        if len(parts) == 1:
            return parts[0]
        present = [f.name for f in fields(Episode) if getattr(parts[0], f.name) is not None]
        return Episode(**{name: torch.cat([getattr(part, name) for part in parts]) for name in present})
