"""Dependencies compared with confusions and a taxonomy, against scipy and hand-made cases."""

import math

import torch
from scipy.stats import spearmanr

from fewshot import ClassGraph, EpisodeSampler, FeatureSet
from fewshot.evaluation.correlations import mean_dependencies, meaning, rank_correlation


def near_pairs() -> FeatureSet:
    """Four classes in two pairs of near ones."""
    generator = torch.Generator().manual_seed(0)
    pairs = torch.randn(2, 32, generator=generator)
    centres = pairs.repeat_interleave(2, 0) + 0.5 * torch.randn(4, 32, generator=generator)
    points = centres[:, None] + 0.8 * torch.randn(4, 30, 32, generator=generator)
    return FeatureSet(
        points.flatten(0, 1) - points.mean((0, 1)),
        torch.arange(4).repeat_interleave(30),
        ("cat", "dog", "oak", "elm"),
        taxonomy=("animal/cat", "animal/dog", "tree/oak", "tree/elm"),
    )


def test_near_classes_listen_to_each_other() -> None:
    data = near_pairs()
    found = mean_dependencies(
        ClassGraph.pretrained(), EpisodeSampler(data, way=4, shot=5, query=2, episodes=60)
    )
    assert (found[[0, 1, 2, 3], [1, 0, 3, 2]] > 1).all()
    torch.testing.assert_close(found.nansum(1), torch.full((4,), 3.0))
    assert found.diagonal().isnan().all()
    confusion = torch.tensor([[9, 3, 0, 0], [2, 9, 0, 1], [0, 0, 9, 4], [0, 1, 3, 9]])
    ranks = meaning(found, confusion, data)
    assert ranks["pairs"] == 6
    assert ranks["taxonomy"] > 0.5
    assert ranks["confusions"] > 0.5


def test_classes_that_never_meet_are_left_out() -> None:
    sampler = EpisodeSampler(near_pairs(), way=2, shot=1, query=1, episodes=1)
    found = mean_dependencies(ClassGraph.pretrained(), sampler)
    assert (~found.isnan()).sum() == 2
    assert math.isnan(rank_correlation(found, found)[0])


def test_rank_correlation_is_scipys() -> None:
    generator = torch.Generator().manual_seed(1)
    a = torch.randn(7, 7, generator=generator)
    b = torch.randint(4, (7, 7), generator=generator)  # with ties
    upper = torch.ones(7, 7, dtype=torch.bool).triu(diagonal=1)
    expected = spearmanr((a + a.T)[upper].numpy(), (b + b.T)[upper].numpy()).statistic
    found, pairs = rank_correlation(a, b)
    assert pairs == 21
    assert math.isclose(found, expected, abs_tol=1e-4)
