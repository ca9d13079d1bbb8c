"""What dependencies mean: how they correlate with the model's confusions and with a taxonomy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torchmetrics.functional.regression import spearman_corrcoef

from fewshot.data.labelled import LabelledSet
from fewshot.episodes.hard_classes import taxonomy_distances
from fewshot.episodes.sampler import EpisodeSampler


@torch.no_grad()
def mean_dependencies(graph: Callable[..., Any], sampler: EpisodeSampler) -> Float[Tensor, "classes classes"]:
    """How much each class listens to each other class, on average over the episodes that have both.

    In units of an equal share: 1 means as much as to any other class of its episodes.

    Args:
        graph: a `ClassGraph`, or any module with its call.
        sampler: episodes of features, all of the same way.

    Returns:
        Row i: how much class i listens to each class j; nan if the two never met, and for i = j.

    >>> from fewshot import ClassGraph
    >>> from fewshot.evaluation.inputs import made_up_data
    >>> sampler = made_up_data().sampler("test", way=3, shot=2, query=5, episodes=40)
    >>> mean_dependencies(ClassGraph.pretrained(), sampler).shape == (sampler.data.num_classes,) * 2
    True
    """
    size = sampler.data.num_classes
    total, met = torch.zeros(size * size), torch.zeros(size * size)
    for episode in sampler:
        assert episode.support is not None
        assert episode.query is not None
        found = graph(episode.support, episode.query[:, :1]).dependencies  # [B, N, N]
        way = found.shape[-1]
        pairs = episode.classes[:, :, None] * size + episode.classes[:, None, :]
        apart = ~torch.eye(way, dtype=torch.bool).expand_as(pairs)
        total.index_add_(0, pairs[apart], (way - 1) * found.cpu()[apart])
        met.index_add_(0, pairs[apart], torch.ones(int(apart.sum())))
    return (total / met).view(size, size)  # 0 / 0 is nan


def rank_correlation(
    a: Shaped[Tensor, "classes classes"], b: Shaped[Tensor, "classes classes"]
) -> tuple[float, int]:
    """Spearman's rank correlation over the pairs of classes, and the number of pairs.

    Both matrices are made symmetric, ``x + x.T``; pairs with a nan are left out.

    >>> a = torch.tensor([[0.0, 3.0, 1.0], [3.0, 0.0, 2.0], [1.0, 2.0, 0.0]])
    >>> rank_correlation(a, -a)
    (-1.0, 3)
    """
    upper = torch.ones_like(a, dtype=torch.bool).triu(diagonal=1)
    a, b = (a + a.T).double()[upper], (b + b.T).double()[upper]
    real = ~(a.isnan() | b.isnan())
    if real.sum() < 2:
        return float("nan"), int(real.sum())
    return round(spearman_corrcoef(a[real], b[real]).item(), 4), int(real.sum())


def meaning(
    dependencies: Float[Tensor, "classes classes"],
    confusion: Int[Tensor, "classes classes"],
    data: LabelledSet,
) -> dict[str, float | int]:
    """Rank correlations of dependencies with confusions and with nearness in a taxonomy.

    Args:
        dependencies: from `mean_dependencies`.
        confusion: counts, from `fewshot.evaluation.scores.Scores`, on the same episodes.
        data: the classes, with their taxonomy if there is one.
    """
    confused, pairs = rank_correlation(dependencies, confusion)
    found: dict[str, float | int] = {"pairs": pairs, "confusions": confused}
    if data.taxonomy is not None:
        near = -torch.from_numpy(taxonomy_distances(data.taxonomy))
        found["taxonomy"] = rank_correlation(dependencies, near)[0]
        found["confusions_taxonomy"] = rank_correlation(confusion, near)[0]
    return found
