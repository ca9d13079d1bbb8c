"""The sampler: what it draws, that nothing but seed and scheme changes it, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch.utils.data import DataLoader

from fewshot.core.errors import InputError
from fewshot.data.labelled import FeatureSet, LabelledSet
from fewshot.data.packed import PackedDataset
from fewshot.episodes.episode import Episode
from fewshot.episodes.fingerprint import Fingerprint
from fewshot.episodes.sampler import BLOCK, EpisodeSampler


def numbered(counts: list[int], **extra: Any) -> LabelledSet:
    """Images of 8 bytes that spell their own index."""
    images = torch.arange(sum(counts)).view(torch.uint8).view(-1, 2, 2, 2)
    labels = torch.repeat_interleave(torch.tensor(counts))
    return LabelledSet(images, labels, tuple(f"class{c}" for c in range(len(counts))), **extra)


def spelled(images: torch.Tensor) -> torch.Tensor:
    """The indices that `numbered` images spell."""
    return images.flatten(-3).view(torch.int64).squeeze(-1)


def whole(sampler: EpisodeSampler) -> Episode:
    """All episodes of a sampler in one."""
    return Episode._join(list(sampler))


def same(a: Episode, b: Episode) -> bool:
    pairs = [(getattr(a, name), getattr(b, name)) for name in vars(a)]
    return all(x is y is None or torch.equal(x, y) for x, y in pairs)


PLACES = tuple(f"root/{c // 6}/{c // 2}/{c}" for c in range(24))
DATA = numbered([12 + c % 5 for c in range(24)], taxonomy=PLACES)
SCHEMES: dict[str, dict[str, Any]] = {
    "plain": {},
    "shots": {"shot": 3},
    "hard": {"classes": "hard"},
    "dirichlet": {"queries": "dirichlet:1"},
    "noise": {"shot": 5, "label_noise": 0.4},
    "ways": {"way": (2, 7, 4), "shot": [1, 5]},
    "all": {
        "way": (3, 6), "shot": (2, 4), "label_noise": 0.5, "classes": "hard", "queries": "dirichlet:2"
    },
}  # fmt: skip
every_scheme = pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)


def make(scheme: dict[str, Any], **options: Any) -> EpisodeSampler:
    return EpisodeSampler(DATA, **{"query": 4, "episodes": 300, **scheme, **options})


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


# --- the same episodes however they are drawn


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


# --- the fingerprint


PINNED = {
    "plain": "ed9f59887a7e773c",
    "shots": "855febadd48993fc",
    "hard": "a1108147882998af",
    "dirichlet": "fea4eb98e629ee2e",
    "noise": "ca27041a584be1b5",
    "ways": "778d938d0da89784",
    "all": "f7f77fa5a0c6c6b8",
}


def test_the_stream_stays_as_it_is() -> None:
    """Another stream makes every published fingerprint void: let nobody change it by accident."""
    assert {name: make(scheme).fingerprint() for name, scheme in SCHEMES.items()} == PINNED


def test_fingerprint_while_iterating_and_merged() -> None:
    sampler, shares = make(SCHEMES["all"]), [Fingerprint(), Fingerprint()]
    for rank, share in enumerate(shares):
        for episode in make(SCHEMES["all"], rank=rank, world=2, batch=9):
            share.update(episode)
    shares[1].merge(shares[0])
    assert shares[1].hexdigest() == sampler.fingerprint()
    assert shares[0].hexdigest() != sampler.fingerprint()
    assert len({make({}, seed=s).fingerprint() for s in range(4)}) == 4


def test_fingerprint_leaves_padding_out() -> None:
    padded = whole(make({"way": (2, 5)}, episodes=1, seed=next(s for s in range(99) if way_of_first(s) == 2)))
    assert padded.classes.shape == (1, 5)
    bare = Episode(
        classes=padded.classes[:, :2],
        support_index=padded.support_index[:, :2],
        query_index=padded.query_index[:, :8],
        query_labels=padded.query_labels[:, :8],
        proportions=padded.proportions[:, :2],
        numbers=padded.numbers,
    )
    prints = [Fingerprint(), Fingerprint()]
    for fingerprint, episode in zip(prints, (padded, bare), strict=True):
        fingerprint.update(episode)
    assert prints[0].hexdigest() == prints[1].hexdigest()


def way_of_first(seed: int) -> int:
    return int((next(iter(make({"way": (2, 5)}, seed=seed))).classes[0] >= 0).sum())


# --- distributions


def uniform(values: torch.Tensor, bins: int) -> bool:
    """Whether the values 0..bins−1 occur about equally often (chi-square, p > 0.001)."""
    return chisquare(np.bincount(values.flatten().numpy(), minlength=bins)).pvalue > 1e-3


@pytest.mark.parametrize("shot", [1, 6])
def test_classes_images_and_places_are_uniform(shot: int) -> None:
    data = numbered([10] * 12)
    e = whole(EpisodeSampler(data, way=5, shot=shot, query=4, episodes=4000, seed=3, gather=False))
    for place in range(5):
        assert uniform(e.classes[:, place], 12)
    for k in range(shot):
        assert uniform(e.support_index[:, 2, k], 120)
    for place in (0, 7, 19):
        assert uniform(e.query_index[:, place], 120)
        assert uniform(e.query_labels[:, place], 5)
    pairs = e.classes[:, :2].sort(1).values  # any two classes, as often as any others
    assert uniform(torch.unique(pairs, dim=0, return_inverse=True)[1], 66)


def test_queries_come_shuffled() -> None:
    labels = whole(make({})).query_labels
    assert (labels.diff() < 0).any(1).all()  # not one episode in the order of its classes
    assert torch.equal(labels.sort(1).values, torch.arange(5).repeat_interleave(4).expand(300, 20))


def test_ways_and_shots_are_drawn_and_padded() -> None:
    e = whole(make({"way": (2, 5, 3), "shot": (1, 4)}, episodes=3000))
    assert e.classes.shape == (3000, 5)
    assert e.support_index.shape == (3000, 5, 4)
    assert e.query_index.shape == (3000, 20)
    way, shot = e.class_mask.sum(1), e.support_mask[:, 0].sum(1)
    assert uniform(torch.searchsorted(torch.tensor([2, 3, 5]), way), 3)
    assert uniform((shot == 4).long(), 2)
    assert torch.equal(e.class_mask, torch.arange(5) < way[:, None])
    assert torch.equal(e.support_mask, e.class_mask[..., None] & (torch.arange(4) < shot[:, None, None]))
    assert torch.equal(e.query_mask, torch.arange(20) < 4 * way[:, None])
    assert (e.classes[~e.class_mask] == -1).all()
    assert (e.support_index[~e.support_mask] == -1).all()
    assert (e.query_index[~e.query_mask] == -1).all()
    assert (e.query_labels[~e.query_mask] == -1).all()
    assert (e.proportions[~e.class_mask] == 0).all()
    assert (spelled(e.query)[~e.query_mask] == 0).all()  # the first item


def test_masks_only_where_something_is_padded() -> None:
    plain, shots = next(iter(make({}))), next(iter(make({"shot": (1, 2)})))
    assert (plain.support_mask, plain.class_mask, plain.query_mask) == (None, None, None)
    assert (shots.class_mask, shots.query_mask) == (None, None)
    assert shots.support_mask is not None


@pytest.mark.parametrize(
    ("noise", "shot"), [(0.4, 5), (0.3, 5), (0.5, 1), (0.6, 1), (0.2, 2), (0.9, 6), (0.1, 6)]
)
def test_label_noise_is_exact(noise: float, shot: int) -> None:
    e = whole(make({"shot": shot}, label_noise=noise))
    wrong = e.support_labels != torch.arange(5)[:, None]
    assert (wrong.sum(2) == round(noise * shot)).all()
    assert torch.equal(DATA.labels[e.support_index] != e.classes[..., None], wrong)


def test_label_noise_with_several_shots() -> None:
    e = whole(make({"way": (2, 4), "shot": (1, 3, 6)}, label_noise=0.4))
    wrong = (e.support_labels != torch.arange(4)[:, None]) & e.support_mask
    expected = torch.tensor([0, 0, 0, 1, 0, 0, 2])[e.support_mask.sum(2)]
    assert torch.equal(wrong.sum(2), expected)


def test_label_noise_is_uniform_over_other_classes_and_positions() -> None:
    e = whole(make({"shot": 5}, label_noise=0.4, episodes=2000, gather=False))
    wrong = e.support_labels != torch.arange(5)[:, None]
    assert uniform(wrong.nonzero()[:, 2], 5)
    shift = (e.support_labels - torch.arange(5)[:, None]) % 5
    for n in range(5):
        assert uniform(shift[:, n][wrong[:, n]] - 1, 4)
    both = wrong[:, 0].long() @ (2 ** torch.arange(5))  # which two of the five
    assert uniform(torch.unique(both, return_inverse=True)[1], 10)


@pytest.mark.parametrize("alpha", [0.5, 2.0, 10.0])
def test_dirichlet_shares(alpha: float) -> None:
    """Mean 1/N and variance (1/N)(1−1/N)/(N·A+1), up to rounding to whole queries."""
    data = numbered([200] * 8)
    e = whole(EpisodeSampler(data, query=30, queries=f"dirichlet:{alpha}", episodes=3000, gather=False))
    shares = e.proportions.double()
    assert torch.allclose(shares.mean(0), torch.tensor(0.2).double(), atol=0.015)
    assert shares.var().item() == pytest.approx(0.16 / (5 * alpha + 1), rel=0.06)
    assert (e.query_index >= 0).all()


def test_dirichlet_keeps_within_the_images() -> None:
    data = numbered([3, 40, 40, 40, 40, 40])
    e = whole(EpisodeSampler(data, way=6, shot=2, query=5, queries="dirichlet:1", episodes=500))
    small = (data.labels[e.query_index] == 0).sum(1)
    assert small.max() == 1
    assert e.query_index.shape == (500, 30)
    assert (e.query_index >= 0).all()


# --- hard classes


def test_hard_classes_are_the_nearest() -> None:
    """Two far branches of 9 classes: an anchor's 8 nearest are the rest of its branch."""
    taxonomy = tuple(f"root/{c // 9}/{c}" for c in range(18))
    e = whole(EpisodeSampler(numbered([8] * 18, taxonomy=taxonomy), query=3, classes="hard", episodes=500))
    branch = e.classes // 9
    assert (branch == branch[:, :1]).all()
    assert uniform(e.classes[:, 0], 18)
    assert uniform(e.classes, 18)


def test_hard_classes_widen_with_the_way() -> None:
    """7 classes: the others come from the 12 nearest, the 11 of the branch and one beyond."""
    taxonomy = tuple(f"root/{c // 12}/{c}" for c in range(36))
    e = whole(
        EpisodeSampler(numbered([8] * 36, taxonomy=taxonomy), way=7, query=3, classes="hard", episodes=500)
    )
    strangers = 7 - torch.nn.functional.one_hot(e.classes // 12).sum(1).max(1).values
    assert set(strangers.tolist()) == {0, 1}


def test_hard_classes_of_features_and_by_similarity() -> None:
    corner = torch.eye(2).repeat_interleave(9, 0)  # 9 classes along each axis
    items = (corner * torch.arange(1, 19)[:, None]).repeat_interleave(6, 0)
    labels = torch.arange(18).repeat_interleave(6)
    features = FeatureSet(items, labels, tuple(map(str, range(18))))
    e = whole(EpisodeSampler(features, query=3, classes="hard", episodes=200))
    assert (e.classes // 9 == e.classes[:, :1] // 9).all()
    parity = (torch.arange(18)[:, None] % 2 == torch.arange(18) % 2).float()  # wins over the means
    e = whole(EpisodeSampler(features, query=3, classes="hard", similarity=parity, episodes=200))
    assert (e.classes % 2 == e.classes[:, :1] % 2).all()


# --- data of all kinds


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


# --- errors


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


def test_hard_classes_need_to_know_what_is_near() -> None:
    with pytest.raises(InputError, match='classes="hard": expected a taxonomy, superclasses or a similarity'):
        EpisodeSampler(numbered([20] * 6), classes="hard")


def test_fingerprint_needs_a_sampler_s_episodes() -> None:
    e = next(iter(make({})))
    with pytest.raises(InputError, match="episode: expected one that a sampler drew"):
        Fingerprint().update(Episode(**{**vars(e), "numbers": None}))
