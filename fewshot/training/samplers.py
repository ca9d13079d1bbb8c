"""Samplers that are made at the start of a run, before the items that they draw and the step to start from.

Their episodes follow from labels alone, so the same sampler serves for images and for their features.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fewshot.core.errors import InputError
from fewshot.data.labelled import LabelledSet
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.training.processes import ALONE, Workers


def endless(
    data: LabelledSet,
    *,
    way: int,
    shot: int,
    query: int,
    batch: int,
    seed: int,
    workers: Workers = ALONE,
    **conditions: Any,
) -> EpisodeSampler:
    """An endless sampler of a process's own part of each batch, with the options of `EpisodeSampler`."""
    return EpisodeSampler(
        data,
        way=way,
        shot=shot,
        query=query,
        batch=batch,
        episodes=None,
        seed=seed,
        rank=workers.rank,
        world=workers.world,
        **conditions,
    )


def from_batch(sampler: EpisodeSampler, number: int) -> EpisodeSampler:
    """The sampler from a batch on, counted from 0.

    >>> import torch
    >>> data = LabelledSet(torch.arange(8), torch.arange(8) // 4, ("a", "b"))
    >>> sampler = endless(data, way=2, shot=1, query=1, batch=3, seed=0)
    >>> next(iter(from_batch(sampler, 2))).numbers
    tensor([6, 7, 8])
    """
    moved = copy.copy(sampler)
    moved.start = number * sampler.batch * sampler.world
    return moved


def drawn_from(sampler: EpisodeSampler, data: LabelledSet) -> EpisodeSampler:
    """The same episodes of other items with the same labels, such as the features of images."""
    moved = copy.copy(sampler)
    moved.data = data
    return moved


@contextmanager
def located(place: str) -> Iterator[None]:
    """Put a place in front of the message of an `InputError`.

    >>> with located("meta (train split)"):
    ...     raise InputError("way: expected at most 6, got 7")
    Traceback (most recent call last):
    ...
    fewshot.InputError: meta (train split): way: expected at most 6, got 7
    """
    try:
        yield
    except InputError as error:
        raise InputError(f"{place}: {error}") from error
