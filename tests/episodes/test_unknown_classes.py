"""Queries of unknown classes: which they are, and that they leave the rest of the episodes as it is."""

from dataclasses import replace

import pytest
import torch
from scipy.stats import chisquare

from fewshot.core.errors import InputError
from fewshot.data.labelled import FeatureSet
from fewshot.episodes.episode import Episode
from fewshot.episodes.sampler import EpisodeSampler

COUNTS = [9 + c % 4 for c in range(12)]
DATA = FeatureSet(
    torch.arange(sum(COUNTS)).float()[:, None],
    torch.arange(12).repeat_interleave(torch.tensor(COUNTS)),
    tuple("abcdefghijkl"),
    paths=tuple(f"root/{c // 4}/{c}" for c in range(12)),
)
SCHEMES = {
    "plain": {"way": 3, "query": 4},
    "ways": {"way": (2, 5), "shot": (1, 3), "query": 3},
    "dirichlet": {"way": 4, "query": 3, "queries": "dirichlet:1", "shot": 2, "label_noise": 0.5},
    "hard": {"way": 3, "query": 4, "classes": "hard"},
}
every_scheme = pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)


def whole(sampler: EpisodeSampler) -> Episode:
    return Episode._join(list(sampler))


@every_scheme
def test_the_rest_of_the_episode_and_the_fingerprint_stay_the_same(scheme: dict) -> None:
    options = {"batch": 32, "episodes": 150, "seed": 3, **scheme}
    plain, more = EpisodeSampler(DATA, **options), EpisodeSampler(DATA, **options, unknown=2)
    assert more.fingerprint() == plain.fingerprint() == more.without_unknown().fingerprint()
    a, b = whole(plain), whole(more)
    m = a.query_index.shape[1]
    for name in ("classes", "support_index", "support_labels", "proportions", "numbers", "support"):
        assert torch.equal(getattr(a, name), getattr(b, name))
    for name in ("query_index", "query_labels", "query"):
        assert torch.equal(getattr(a, name), getattr(b, name)[:, :m])
    assert a.unknown is None
    assert b.unknown[0].tolist() == [False] * m + [True] * (2 * scheme["query"])
    assert a.asked is a.query_mask
    expected = ~b.unknown if a.query_mask is None else b.query_mask & ~b.unknown
    assert torch.equal(b.asked, expected)


@every_scheme
def test_unknown_queries_are_of_further_classes_as_many_of_each(scheme: dict) -> None:
    episode = whole(EpisodeSampler(DATA, batch=32, episodes=150, unknown=3, **scheme))
    strangers = episode.query_index[:, -3 * scheme["query"] :]
    classes = DATA.labels[strangers].view(150, 3, scheme["query"])
    assert torch.equal(classes, classes[..., :1].expand_as(classes))
    for own, other, images in zip(episode.classes, classes[..., 0], strangers, strict=True):
        assert len({*own.tolist(), *other.tolist()} - {-1}) == int((own >= 0).sum()) + 3
        assert len(set(images.tolist())) == len(images)
    assert (episode.query_labels[:, -3 * scheme["query"] :] == -1).all()
    assert torch.equal(episode.query[:, -1, 0].long(), strangers[:, -1])


def test_every_further_class_is_equally_likely() -> None:
    episode = whole(EpisodeSampler(DATA, way=3, query=1, batch=64, episodes=3000, unknown=2))
    strangers = DATA.labels[episode.query_index[:, -2:]]
    assert chisquare(torch.bincount(strangers.flatten(), minlength=12).numpy()).pvalue > 1e-3


def test_batches_and_shares_change_nothing() -> None:
    options = {"way": 3, "query": 4, "unknown": 2, "seed": 1}
    expected = whole(EpisodeSampler(DATA, batch=200, episodes=200, **options)).query_index
    one = whole(EpisodeSampler(DATA, batch=7, episodes=200, **options)).query_index
    part = whole(EpisodeSampler(DATA, batch=7, episodes=200, rank=1, world=3, **options)).query_index
    assert torch.equal(one, expected)
    assert torch.equal(part, expected[1::3])


def test_what_does_not_fit() -> None:
    with pytest.raises(
        InputError, match=r"unknown: expected at most 9 \(the classes besides the episode's\), got 10"
    ):
        EpisodeSampler(DATA, way=3, query=4, unknown=10)
    with pytest.raises(InputError, match="unknown: expected a whole number of at least 0, got -1"):
        EpisodeSampler(DATA, way=3, query=4, unknown=-1)
    few = FeatureSet(torch.zeros(42, 1), torch.tensor([0] * 2 + [1] * 20 + [2] * 20), ("a", "b", "c"))
    options = {"way": 2, "query": 8, "queries": "dirichlet:1"}
    EpisodeSampler(few, **options)
    with pytest.raises(
        InputError,
        match="class 'a': expected at least 8 images, to be the queries of an unknown class, got 2",
    ):
        EpisodeSampler(few, **options, unknown=1)


def test_paths_change_no_episode_unless_asked_for() -> None:
    options = {"way": 3, "query": 4, "episodes": 40, "classes": "hard"}
    bare = replace(DATA, items=torch.randn(len(DATA), 4), paths=None)
    placed = replace(bare, paths=DATA.paths)
    assert EpisodeSampler(placed, **options).fingerprint() == EpisodeSampler(bare, **options).fingerprint()


def test_hard_by_taxonomy_goes_by_paths() -> None:
    sampler = EpisodeSampler(DATA, way=4, query=4, episodes=300, classes="hard:taxonomy")
    groups = torch.cat([episode.classes for episode in sampler]) // 4
    # Of the 8 nearest of each anchor the nearest 3 are of its group: more alike than uniform draws.
    pairs = (groups[:, :, None] == groups[:, None]).float().mean()
    uniform = EpisodeSampler(DATA, way=4, query=4, episodes=300)
    plain = torch.cat([episode.classes for episode in uniform]) // 4
    assert pairs > (plain[:, :, None] == plain[:, None]).float().mean() + 0.03
    missing = replace(DATA, paths=("", *DATA.paths[1:]))
    with pytest.raises(
        InputError, match=r"classes=\"hard:taxonomy\": expected a path .* got none for a \(1 of 12"
    ):
        EpisodeSampler(missing, way=3, query=4, classes="hard:taxonomy")
