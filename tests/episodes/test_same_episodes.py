"""Nothing but seed and scheme changes the episodes: no batch size, worker, process or start."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest
import torch
from numbered import every_scheme, make, same, whole
from torch.utils.data import DataLoader

from fewshot.core.errors import InputError
from fewshot.episodes.episode import Episode
from fewshot.episodes.sampler import BLOCK


@every_scheme
def test_batch_size_changes_nothing(scheme: dict[str, Any]) -> None:
    reference = make(scheme, batch=300)
    for batch in (7, 64, 1000):
        sampler = make(scheme, batch=batch)
        assert same(whole(sampler), whole(reference))
        assert sampler.fingerprint() == reference.fingerprint()


def test_batches_and_length() -> None:
    sampler = make({}, batch=64, episodes=300)
    assert [len(e) for e in sampler] == [64, 64, 64, 64, 44]
    assert len(sampler) == 5


def test_endless() -> None:
    sampler = make({}, episodes=None, batch=50)
    with pytest.raises(TypeError, match="no length"):
        len(sampler)
    assert same(Episode._join(list(islice(sampler, 6))), whole(make({})))
    with pytest.raises(InputError, match="episodes: expected a number"):
        sampler.fingerprint()


def test_iterating_again_starts_over() -> None:
    sampler = make({}, batch=32)
    next(iter(sampler))
    assert same(whole(sampler), whole(sampler))
    first, second = iter(sampler), iter(sampler)  # and two at once do not disturb each other
    next(first)
    assert torch.equal(next(second).numbers, torch.arange(32))


@pytest.mark.parametrize("start", [0, 1, BLOCK, 200, 300])
def test_start_resumes(start: int) -> None:
    rest = [e for batch in make({}, start=start, batch=16) for e in batch.query_index]
    assert len(rest) == 300 - start
    assert all(map(torch.equal, rest, whole(make({})).query_index[start:]))


@pytest.mark.parametrize("world", [2, 3, 5])
def test_ranks_share_out_the_episodes(world: int) -> None:
    parts = [make({}, rank=rank, world=world, batch=8, start=10) for rank in range(world)]
    everything = Episode._join([whole(part) for part in parts])
    in_order = everything._rows(everything.numbers.argsort())
    alone = make({}, start=10)
    assert same(in_order, whole(alone))
    assert sum(len(e) for part in parts for e in part) == 290
    assert [len(list(part)) for part in parts] == [len(part) for part in parts]
    assert {part.fingerprint() for part in parts} == {alone.fingerprint()}


def test_workers_share_out_the_batches_in_order() -> None:
    sampler = make({"shot": 2}, batch=32, reuse=True)
    loaded = list(DataLoader(sampler, batch_size=None, num_workers=2))
    alone = list(make({"shot": 2}, batch=32))
    assert len(loaded) == len(alone) == len(sampler)
    assert all(map(same, loaded, alone))


def test_noise_and_shot_leave_classes_and_queries_alone() -> None:
    clean, noisy = whole(make({"shot": 5})), whole(make({"shot": 5}, label_noise=0.4))
    assert torch.equal(clean.query_index, noisy.query_index)
    assert torch.equal(
        clean.support_index.flatten(1).sort(1).values, noisy.support_index.flatten(1).sort(1).values
    )
    assert torch.equal(clean.classes, whole(make({"shot": 1})).classes)


def test_seeds_and_blocks_differ() -> None:
    a, b = whole(make({}, seed=0)), whole(make({}, seed=1))
    assert not torch.equal(a.query_index, b.query_index)
    assert len({tuple(row) for row in a.query_index.tolist()}) == 300
