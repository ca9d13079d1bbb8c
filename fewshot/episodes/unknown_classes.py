"""Queries of classes that an episode does not have, as many from each as it has from its own classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Int, Int64
from numpy import ndarray
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.episodes.draw import Scheme, subsets
from fewshot.episodes.episode import Episode


def check_unknown(scheme: Scheme, unknown: int, names: Sequence[str]) -> None:
    """Raise InputError if the data are too few for the queries of `unknown` further classes."""
    if not unknown:
        return
    left = len(names) - max(scheme.ways)
    if unknown > left:
        raise InputError(
            f"unknown: expected at most {left} (the classes besides the episode's), got {unknown}"
        )
    poorest = int(scheme.counts.argmin())
    if scheme.counts[poorest] < scheme.query:
        raise InputError(
            f"class {names[poorest]!r}: expected at least {scheme.query} images, to be the queries of an "
            f"unknown class, got {scheme.counts[poorest]}"
        )


def draw_unknown(
    rng: np.random.Generator, scheme: Scheme, classes: Int[ndarray, "B N"], unknown: int
) -> Int[ndarray, "B queries"]:
    """Positions of the queries of `unknown` classes, each set of classes besides these equally likely.

    Args:
        scheme: of the episodes.
        classes: those of each episode, padded with −1.

    Returns:
        ``unknown * scheme.query`` positions per episode, those of a class next to each other.

    >>> scheme = Scheme(counts=np.array([4, 4, 4]), ways=(2,), shots=(1,), query=3)
    >>> draw_unknown(np.random.default_rng(0), scheme, np.array([[0, 2]]), unknown=1).tolist()
    [[4, 6, 7]]
    """
    numbers = np.arange(len(scheme.counts))
    own = (classes[..., None] == numbers).any(1)  # [B, classes]
    others = np.argsort(own, axis=1, kind="stable")  # the classes besides the episode's come first
    chosen = np.take_along_axis(others, subsets(rng, (~own).sum(1), np.full(len(own), unknown), unknown), 1)
    images = subsets(rng, scheme.counts[chosen], np.full_like(chosen, scheme.query), scheme.query)
    first = np.cumsum(scheme.counts) - scheme.counts
    return (images + first[chosen][..., None]).reshape(len(classes), -1)


def with_strangers(episode: Episode, strangers: Int64[Tensor, "B queries"]) -> Episode:
    """Episodes without items, with these queries of unknown classes after their own."""
    added = torch.ones_like(strangers, dtype=torch.bool)
    mask = episode.query_mask
    return replace(
        episode,
        query_index=torch.cat([episode.query_index, strangers], 1),
        query_labels=torch.cat([episode.query_labels, torch.full_like(strangers, -1)], 1),
        query_mask=None if mask is None else torch.cat([mask, added], 1),
        unknown=torch.cat([torch.zeros_like(episode.query_index, dtype=torch.bool), added], 1),
    )
