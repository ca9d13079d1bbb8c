"""How often classes, images, ways, shots, wrong labels and shares are drawn."""

from __future__ import annotations

import pytest
import torch
from numbered import DATA, make, numbered, spelled, uniform, whole

from fewshot.episodes.sampler import EpisodeSampler


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
