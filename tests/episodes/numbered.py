"""Numbered images, and samplers of their episodes in every scheme."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from fewshot.data.labelled import LabelledSet
from fewshot.episodes.episode import Episode
from fewshot.episodes.sampler import EpisodeSampler


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


def uniform(values: torch.Tensor, bins: int) -> bool:
    """Whether the values 0..bins−1 occur about equally often (chi-square, p > 0.001)."""
    return chisquare(np.bincount(values.flatten().numpy(), minlength=bins)).pvalue > 1e-3
