"""Calibration of sets of classes on classes that a backbone did not see, and their coverage and size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from jaxtyping import Float, Int

from fewshot.core.modes import Mode
from fewshot.data.labelled import LabelledSet
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.relations import Knowledge
from fewshot.evaluation.scores import in_mode
from fewshot.methods.shared.call import FewShotCall
from fewshot.model.sure_sets import LEVELS, Grid, Setting, SureSets, quantiles

WAYS, SHOTS, QUERIES = (2, 5, 20), (1, 5), (1, 5, 15)
ANSWERS, LEAST = 3000, 40  # queries per cell and source, and episodes at least
TOGETHER = 6000  # queries of a batch
ALONE = 5  # queries per class in inductive mode, where their number does not matter


@dataclass(frozen=True, eq=False)
class Source:
    """Features of classes that a backbone did not see, and what classifies them.

    Args:
        graph: a class graph, after the transform of the backbone's features.
        data: features with labels, minus the base mean.
        relations: of these classes to known ones; default None.
    """

    graph: FewShotCall
    data: LabelledSet
    relations: Knowledge | None = None


def answered(
    source: Source, setting: Setting, episodes: int, seed: int = 0
) -> Iterator[tuple[Float[np.ndarray, "q N"], Int[np.ndarray, " q"]]]:
    """Probabilities and labels of the queries of episodes, a batch at a time.

    Args:
        source: what is drawn from.
        setting: of the episodes; relations are given if it says so.
        episodes: how many.
        seed: of the episodes.
    """
    way, shot, query = (int(x) for x in setting[2:])
    sampler = EpisodeSampler(
        source.data,
        way=way,
        shot=shot,
        query=query,
        batch=max(1, TOGETHER // (way * query)),
        episodes=episodes,
        seed=seed,
    )
    predict = in_mode(source.graph, setting.mode, source.relations if setting.related else None)
    for episode in sampler:
        with torch.no_grad():
            logits = predict(episode).double().cpu()
        yield logits.softmax(-1).flatten(0, 1).numpy(), episode.query_labels.flatten().cpu().numpy()


def calibrate(
    sources: Sequence[Source],
    ways: Sequence[int] = WAYS,
    shots: Sequence[int] = SHOTS,
    queries: Sequence[int] = QUERIES,
    *,
    modes: Sequence[str] = tuple(Mode),
    answers: int = ANSWERS,
    seed: int = 0,
) -> SureSets | None:
    """The thresholds of sets, for each mode by ways, shots and queries per class, without and with relations.

    Args:
        sources: all of them count alike, as far as they have the classes and images.
        ways, shots, queries: of the episodes; those for which there are classes and images.
        modes: names of modes; default all.
        answers: about how many queries per cell and source.
        seed: of the episodes.

    Returns:
        None if no source has two classes with two images each.
    """
    sources = [source for source in sources if source.data.num_classes > 1 and source.data.counts.min() > 1]
    if not sources:
        return None
    least = min(int(source.data.counts.min()) for source in sources)
    most = max(source.data.num_classes for source in sources)
    ways = sorted({min(way, most) for way in ways})
    shots = [shot for shot in shots if shot < least] or [1]
    together = sorted({min(query, least - shots[-1]) for query in queries})
    grids = {}
    for mode, related in product(modes, (False, True)):
        some = [source for source in sources if source.relations is not None] if related else sources
        asked = together if Mode(mode).joint else [min(ALONE, least - shots[-1])]
        if not some:
            continue
        found = [
            _quantiles(some, Setting(mode, related, *cell), answers, seed)
            for cell in product(ways, shots, asked)
        ]
        thresholds = np.reshape(found, (len(ways), len(shots), len(asked), len(LEVELS)))
        grids[mode, related] = Grid(tuple(ways), tuple(shots), tuple(asked), thresholds)
    return SureSets(grids)


def _quantiles(
    sources: Sequence[Source], cell: Setting, answers: int, seed: int
) -> Float[np.ndarray, " levels"]:
    """Of all sources that have enough classes."""
    parts = []
    for source in sources:
        most = int(source.data.counts.min() - cell.shot)
        here = cell._replace(query=min(cell.query, most))
        if source.data.num_classes >= cell.way:
            episodes = max(LEAST, round(answers / (here.way * here.query)))
            parts += [p[np.arange(len(p)), y] for p, y in answered(source, here, episodes, seed)]
    return quantiles(np.concatenate(parts))


def coverage(sets: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """The share of sets that hold the right class, and the mean number of classes in a set.

    >>> coverage(np.array([[True, True], [True, False]]), np.array([1, 1]))
    (0.5, 1.5)
    """
    held = sets[np.arange(len(labels)), labels]
    return float(held.mean()), float(sets.sum(1).mean())
