"""The fingerprint: pinned, and the same however the episodes are drawn."""

from __future__ import annotations

import pytest
from numbered import SCHEMES, make, whole

from fewshot.core.errors import InputError
from fewshot.episodes.episode import Episode
from fewshot.episodes.fingerprint import Fingerprint

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


def test_fingerprint_needs_a_sampler_s_episodes() -> None:
    e = next(iter(make({})))
    with pytest.raises(InputError, match="episode: expected one that a sampler drew"):
        Fingerprint().update(Episode(**{**vars(e), "numbers": None}))
