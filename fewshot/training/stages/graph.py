"""The graph stage: the class graph alone, on features of the base classes, under many conditions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import torch

from fewshot.core.loop import Batch, Stage
from fewshot.core.seeds import seed
from fewshot.data.labelled import FeatureSet, LabelledSet
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.scores import MODES
from fewshot.model.few_shot import GraphFewShot
from fewshot.training.base_classes import BaseClasses
from fewshot.training.config import Graph
from fewshot.training.encoding import encoded
from fewshot.training.losses import GraphLoss
from fewshot.training.processes import ALONE, Workers
from fewshot.training.samplers import drawn_from, endless, from_batch, located
from fewshot.training.validation import accuracy, graph_predict, validation_samplers


class GraphTraining:
    """Episodes of features of the base classes; validated in each mode under all conditions.

    Args:
        options: the config's section `graph`.
        base: the base classes.
        val: images of the validation classes.
        run_seed: of the run.
        workers: the processes that share each batch.

    Raises:
        InputError: names the way, shot or queries that the classes cannot serve, or the batch that the
            processes cannot share.
    """

    name = "graph"

    def __init__(
        self,
        options: Graph,
        base: BaseClasses,
        val: LabelledSet,
        *,
        run_seed: int,
        workers: Workers = ALONE,
    ) -> None:
        self.options, self.base, self.val, self.workers = options, base, val, workers
        with located("graph (train split)"):
            self.samplers = samplers(options, base.images, run_seed, workers)
        with located("validation (val split)"):
            self.validation_samplers = _validation_samplers(options, val, run_seed, workers)

    def begin(self, model: GraphFewShot) -> Stage:
        """The stage, on the model's graph; the model learns its base mean and its transform before."""
        options = self.options
        features = self.base.learn(model)
        val = encoded(model, self.val, self.workers)
        validated_on = [drawn_from(sampler, val) for sampler in self.validation_samplers]
        # Tensors of a few thousand numbers, and thousands of operators: a GPU takes longer for them.
        device = torch.device("cpu") if self.workers.world == 1 else model.device
        features = replace(features, items=features.items.to(device))
        module = GraphLoss(model.to(device).graph)
        optimizer = torch.optim.AdamW(
            module.parameters(), options.lr, weight_decay=options.weight_decay, fused=True
        )
        return Stage(
            name=self.name,
            module=module,
            batches=lambda start: self._batches(features, device, start),
            steps=options.steps,
            optimizer=optimizer,
            warmup=options.warmup,
            validate=lambda: _scores(model, validated_on, self.workers),
            validate_every=options.validate_every,
            rate=(options.batch, "episodes"),
            device=device,
        )

    def _batches(self, features: FeatureSet, device: torch.device, start: int) -> Iterator[Batch]:
        count = len(self.samplers)
        # Step s is batch s // count of sampler s % count.
        firsts = [(start - i + count - 1) // count for i in range(count)]
        own = [drawn_from(sampler, features) for sampler in self.samplers]
        streams = [iter(from_batch(sampler, first)) for sampler, first in zip(own, firsts, strict=True)]
        for step in range(start, self.options.steps):
            episode = next(streams[step % count]).to(device)
            yield episode.support, episode.query, episode.query_labels, episode.proportions


def conditions(options: Graph) -> list[dict[str, Any]]:
    """The combinations of way, shot, query shares and label noise, which the steps take in turn."""
    keys = ("way", "shot", "queries", "label_noise")
    every = product(options.ways, options.shots, options.queries, options.noise)
    return [dict(zip(keys, values, strict=True)) for values in every]


def samplers(
    options: Graph, data: LabelledSet, run_seed: int, workers: Workers = ALONE
) -> list[EpisodeSampler]:
    """One sampler per condition."""
    batch = workers.share("graph.batch", options.batch)
    return [
        endless(
            data,
            query=options.query,
            batch=batch,
            seed=seed(run_seed, "graph", "episodes", number),
            workers=workers,
            **condition,
        )
        for number, condition in enumerate(conditions(options))
    ]


def _validation_samplers(
    options: Graph, val: LabelledSet, run_seed: int, workers: Workers
) -> list[EpisodeSampler]:
    """Episodes of all query shares and label noises; balanced and clean if there are too few images."""
    every = [
        sampler
        for queries, noise in product(options.queries, options.noise)
        for sampler in validation_samplers(val, run_seed, workers, queries=queries, noise=noise)
    ]
    return every or validation_samplers(val, run_seed, workers)


def _scores(model: GraphFewShot, on: list[EpisodeSampler], workers: Workers) -> dict[str, float]:
    scores = {}
    for mode in MODES:
        found = [accuracy(graph_predict(model, mode), sampler, workers) for sampler in on]
        scores[f"val_{mode}"] = sum(found) / len(found)
    return {"val_accuracy": sum(scores.values()) / len(scores), **scores}
