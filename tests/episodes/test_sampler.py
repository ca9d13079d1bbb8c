"""The sampler: what it draws from data of all kinds, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numbered import DATA, SCHEMES, every_scheme, make, numbered, same, spelled, whole

from fewshot.core.errors import InputError
from fewshot.data.labelled import FeatureSet, LabelledSet
from fewshot.data.packed import PackedDataset
from fewshot.episodes.sampler import EpisodeSampler


@every_scheme
def test_fields_fit_together(scheme: dict[str, Any]) -> None:
    e = whole(make(scheme))
    assert torch.equal(e.support_index >= 0, e.support_labels >= 0)
    there, real = e.support_index >= 0, e.query_index >= 0
    if e.support_mask is not None:
        assert torch.equal(there, e.support_mask)
    assert e.query_mask is None or torch.equal(real, e.query_mask)
    assert torch.equal(spelled(e.support)[there], e.support_index[there])
    assert torch.equal(spelled(e.query)[real], e.query_index[real])
    # the labels lead to the true classes
    assert torch.equal(
        e.classes.gather(1, e.query_labels.clamp(min=0))[real], DATA.labels[e.query_index[real]]
    )
    true = e.classes.gather(1, e.support_labels.flatten(1).clamp(min=0)).view(there.shape)
    assert torch.equal(true[there], DATA.labels[e.support_index[there]])
    counts = torch.stack([(e.query_labels == n).sum(1) for n in range(e.classes.shape[1])], 1)
    torch.testing.assert_close(e.proportions, counts / counts.sum(1, keepdim=True))
    way = (e.classes >= 0).sum(1)
    assert torch.equal(real.sum(1), way * 4)
    assert torch.equal(e.numbers, torch.arange(300))


@every_scheme
def test_no_image_and_no_class_occurs_twice(scheme: dict[str, Any]) -> None:
    e = whole(make(scheme))
    for row, classes in zip(
        torch.cat([e.support_index.flatten(1), e.query_index], 1), e.classes, strict=True
    ):
        assert row[row >= 0].unique().numel() == (row >= 0).sum()
        assert classes[classes >= 0].unique().numel() == (classes >= 0).sum()


def test_classes_with_just_enough_images() -> None:
    e = whole(EpisodeSampler(numbered([5] * 4), way=4, shot=2, query=3, episodes=50, label_noise=0.5))
    used = torch.cat([e.support_index.flatten(1), e.query_index], 1).sort(1).values
    assert torch.equal(used, torch.arange(20).expand(50, 20))


def test_list_holds_distinct_episodes() -> None:
    batches = list(make({}, batch=50))
    assert len({e.query.untyped_storage().data_ptr() for e in batches}) == len(batches) == 6
    assert all(torch.equal(spelled(e.query), e.query_index) for e in batches)
    indices = [e.query_index for e in make({}, batch=50, gather=False)]
    assert len({i.untyped_storage().data_ptr() for i in indices}) == 6


@pytest.mark.parametrize("kind", [torch.bool, torch.int16, torch.bfloat16, torch.float64])
def test_items_of_any_type_are_gathered(kind: torch.dtype) -> None:
    items = (torch.arange(len(DATA) * 6) % 251).view(-1, 2, 3).to(kind)
    for reuse in (False, True):
        for e in EpisodeSampler(replace(DATA, items=items), 4, 2, 3, batch=8, episodes=20, reuse=reuse):
            assert torch.equal(e.support, items[e.support_index])
            assert torch.equal(e.query, items[e.query_index])


def test_reuse_keeps_one_buffer() -> None:
    sampler = make({}, batch=64, reuse=True)
    addresses, held = set(), []
    for e in sampler:
        assert torch.equal(spelled(e.query), e.query_index)
        assert torch.equal(spelled(e.support), e.support_index)
        addresses.add((e.support.data_ptr(), e.query.data_ptr()))
        held.append(e)
    assert len(addresses) == 1
    assert torch.equal(held[0].query[:44], held[-1].query)  # overwritten, as its caller asked


def test_features_maps_and_views(tmp_path: Any) -> None:
    data = numbered([12] * 8)
    reference = whole(EpisodeSampler(data, query=4, episodes=40))
    np.save(tmp_path / "images.npy", data.items.numpy())
    mapped = torch.from_numpy(np.load(tmp_path / "images.npy", mmap_mode="c"))
    packed = PackedDataset(mapped, data.labels, data.class_names)
    assert same(whole(EpisodeSampler(packed, query=4, episodes=40)), reference)
    strided = LabelledSet(data.items.repeat(1, 2, 1, 1)[:, :2], data.labels, data.class_names)
    assert not strided.items.is_contiguous()
    assert same(whole(EpisodeSampler(strided, query=4, episodes=40, reuse=True, batch=40)), reference)
    features = FeatureSet(torch.arange(96.0)[:, None], data.labels, data.class_names)
    e = whole(EpisodeSampler(features, query=4, episodes=40))
    assert torch.equal(e.query.squeeze(-1).long(), reference.query_index)
    assert torch.equal(e.support.squeeze(-1).long(), reference.support_index)


def test_gather_false_leaves_the_items_out() -> None:
    e = whole(make({}, gather=False))
    assert e.support is None
    assert e.query is None
    assert torch.equal(e.query_index, whole(make({})).query_index)


def test_device_moves_the_episode() -> None:
    e = next(iter(make(SCHEMES["ways"], device="meta")))
    assert {value.device.type for value in vars(e).values() if value is not None} == {"meta"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_items_on_a_gpu() -> None:
    data = LabelledSet(DATA.items.cuda(), DATA.labels, DATA.class_names)
    e = whole(EpisodeSampler(data, query=4, episodes=300, reuse=True, batch=300))
    assert e.query.is_cuda
    assert same(e.to("cpu"), whole(make({})))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"way": 25}, "way: expected at most 24 (the classes of the data), got 25"),
        ({"way": 1}, "way: expected a whole number of at least 2, got 1"),
        ({"way": (5, 1)}, "way: expected a whole number of at least 2, got 1"),
        ({"way": ()}, "way, shot: expected one number or several, got no number"),
        ({"shot": 0}, "shot: expected a whole number of at least 1, got 0"),
        ({"query": 0}, "query: expected a whole number of at least 1, got 0"),
        ({"batch": 0}, "batch: expected a whole number of at least 1, got 0"),
        ({"episodes": 0}, "episodes: expected a whole number of at least 1, got 0"),
        ({"seed": -1}, "seed: expected a whole number of at least 0, got -1"),
        ({"start": 301}, "start: expected at most 300 (episodes), got 301"),
        ({"rank": 2, "world": 2}, "rank: expected under 2 (world), got 2"),
        ({"classes": "easy"}, "classes: expected one of uniform, hard, hard:taxonomy, got 'easy'"),
        ({"queries": "zipf"}, 'queries: expected "balanced" or "dirichlet:A" with A from 0.000001 to'),
        ({"queries": "dirichlet"}, "with A from 0.000001 to 1,000,000, got 'dirichlet'"),
        ({"queries": "dirichlet:0"}, "with A from 0.000001 to 1,000,000, got 'dirichlet:0'"),
        ({"queries": "dirichlet:1e-320"}, "with A from 0.000001 to 1,000,000, got 'dirichlet:1e-320'"),
        ({"queries": "dirichlet:1_0"}, "with A from 0.000001 to 1,000,000, got 'dirichlet:1_0'"),
        ({"queries": "dirichlet:nan"}, "with A from 0.000001 to 1,000,000, got 'dirichlet:nan'"),
        ({"label_noise": 1.0}, "label_noise: expected from 0 to under 1, got 1.0"),
        ({"label_noise": -0.1}, "label_noise: expected from 0 to under 1, got -0.1"),
        ({"shot": 10}, "class 'class0': expected at least 14 images (10 supports + 4 queries), got 12"),
        ({"shot": 13, "queries": "dirichlet:2"}, "expected at least 13 images (13 supports), got 12"),
        (
            {"shot": 10, "queries": "dirichlet:2"},
            "expected at least 20 images besides the supports in any 5 classes, got 10 in the smallest",
        ),
        ({"similarity": torch.eye(24)}, "similarity: expected classes=\"hard\" with it, got 'uniform'"),
        (
            {"classes": "hard", "similarity": torch.eye(3)},
            "similarity: expected [classes, classes] = [24, 24], got [3, 3]",
        ),
    ],
)  # fmt: skip
def test_errors_say_what_was_expected(options: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError) as error:
        make(options)
    assert text in str(error.value)
    assert "\n" not in str(error.value)
