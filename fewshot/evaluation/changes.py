"""Changes of episodes that must not change a method's results: orders, batches, other queries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from fewshot.episodes.episode import Episode

Look = Callable[[Episode], Tensor]  # from episodes to probabilities [b, m, N]
Pair = tuple[Tensor, Tensor]  # probabilities [b, m, N] that should be equal


def cycle(rows: int, n: int, generator: torch.Generator) -> Int64[Tensor, "rows n"]:
    """One random cycle of n things per row: for n > 1, nothing stays in its place."""
    tour = torch.rand(rows, n, generator=generator).argsort(1)
    return torch.empty_like(tour).scatter_(1, tour, tour.roll(1, 1))


def take(x: Shaped[Tensor, "b n *rest"], index: Int64[Tensor, "b m"]) -> Shaped[Tensor, "b m *rest"]:
    """``x[b, index[b, i]]`` for all b, i."""
    return x[torch.arange(len(x), device=x.device)[:, None], index.to(x.device)]


def each(episode: Episode, change: Callable[[Tensor], Tensor], *names: str) -> Episode:
    """Change these fields, except those that are None."""
    there = {name: getattr(episode, name) for name in names if getattr(episode, name) is not None}
    return replace(episode, **{name: change(value) for name, value in there.items()})


def take_queries(episode: Episode, index: Int64[Tensor, "b m"]) -> Episode:
    names = "query", "query_labels", "query_index", "query_mask", "unknown"
    return each(episode, lambda x: take(x, index), *names)


def take_classes(episode: Episode, order: Int64[Tensor, "b N"]) -> Episode:
    places = order.argsort(1)  # where each class goes
    labels = take(places.to(episode.query_labels.device), episode.query_labels.clamp(min=0))
    labels = labels.where(episode.query_labels >= 0, -1)
    names = "support", "classes", "support_index", "support_mask", "class_mask", "proportions"
    moved = each(episode, lambda x: take(x, order), *names)
    return replace(moved, query_labels=labels, support_labels=None)


def take_supports(episode: Episode, order: Int64[Tensor, "b N K"]) -> Episode:
    def change(x: Tensor) -> Tensor:
        return take(x.flatten(0, 1), order.flatten(0, 1)).unflatten(0, order.shape[:2])

    return each(episode, change, "support", "support_index", "support_mask", "support_labels")


def alone(episode: Episode, i: int) -> Episode:
    return each(episode, lambda x: x[i : i + 1], *(field.name for field in fields(episode)))


def removed(look: Look, episode: Episode, usual: Tensor) -> list[Pair]:
    """A single query by itself: the first, the middle and the last one."""
    b, m = usual.shape[:2]
    pairs = []
    for i in sorted({0, m // 2, m - 1}):
        index = torch.full((b, 1), i)
        pairs.append((look(take_queries(episode, index)), take(usual, index)))
    return pairs


def replaced(look: Look, episode: Episode, usual: Tensor) -> list[Pair]:
    """Half of the queries are kept, the rest replaced by another episode's; then the other half."""
    m = usual.shape[1]
    first = torch.arange(m) < m // 2
    pairs = []
    for stay in (first, ~first):

        def change(x: Tensor, stay: Tensor = stay) -> Tensor:
            return torch.where(stay.to(x.device).view(1, m, *[1] * (x.dim() - 2)), x, x.roll(1, 0))

        pairs.append((look(each(episode, change, "query"))[:, stay], usual[:, stay]))
    return pairs
