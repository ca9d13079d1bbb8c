"""Scores of a model: on the validation classes while it trains, on the test classes at the end."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import torch
from lightning.fabric import Fabric
from torch.optim.swa_utils import update_bn

from fewshot.core.errors import InputError
from fewshot.data.labelled import FeatureSet, LabelledSet
from fewshot.data.packed import PackedDataset, Splits, first_of_each, spread
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.scores import MODES, Predict, Scores, as_predict, evaluate
from fewshot.methods.prototypes import prototypes
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.precision import autocast
from fewshot.training import stages
from fewshot.training.config import Config
from fewshot.training.processes import ALONE, Workers, workers_of

VAL_EPISODES = 300
VAL_IMAGES = 4000  # about as many images of the validation split are encoded at each validation


def validate_images(
    config: Config, model: GraphFewShot, splits: Splits, graph_modes: list[str]
) -> stages.Validate:
    """Scores on features of validation images: of prototypes, or of the graph in some modes."""
    base, val = spread(splits.train, VAL_IMAGES), first_of_each(splits.val, VAL_IMAGES)

    def validate() -> dict[str, float]:
        _calibrate(model, base)
        base_features(model, base)
        features = model.features(val)
        model.base_mean = model.base_mean.new_zeros(0)
        scores = {}
        for sampler in validation_samplers(config, features):
            methods = [_graph_predict(model, mode) for mode in graph_modes] or [as_predict(prototypes)]
            found = [_accuracy(predict, sampler) for predict in methods]
            scores[f"val_{sampler.shot}-shot"] = sum(found) / len(found)
        return {"val_accuracy": sum(scores.values()) / len(scores), **scores}

    return validate


def validate_graph(config: Config, model: GraphFewShot, val: PackedDataset) -> stages.Validate:
    """Scores of the graph on validation features, which stay the same: each mode under all conditions."""
    assert config.graph is not None
    features = model.features(first_of_each(val, VAL_IMAGES))
    conditions = product(config.graph.queries, config.graph.noise)
    samplers = [s for condition in conditions for s in validation_samplers(config, features, *condition)]
    samplers = samplers or validation_samplers(config, features)  # too few images for noise

    def validate() -> dict[str, float]:
        scores = {}
        for mode in MODES:
            found = [_accuracy(_graph_predict(model, mode), sampler) for sampler in samplers]
            scores[f"val_{mode}"] = sum(found) / len(found)
        return {"val_accuracy": sum(scores.values()) / len(scores), **scores}

    return validate


def score(
    config: Config, model: GraphFewShot, data: PackedDataset, fabric: Fabric | None = None
) -> list[Scores]:
    """The scores of each way and shot of ``config.evaluate``: prototypes, and a graph that was trained.

    The processes of a fabric share the episodes out; each has the scores of all of them.
    """
    features = model.features(data)
    methods = [("prototypes", "inductive", as_predict(prototypes))]
    if trains_graph(config):
        methods += [("class-graph", mode, _graph_predict(model, mode)) for mode in MODES]

    def gather(own: Any) -> list[Any]:
        return [fabric.broadcast(own, rank) for rank in range(fabric.world_size)] if fabric else [own]

    return [
        evaluate(predict, sampler, method=method, mode=mode, gather=gather)
        for sampler in final_samplers(config, features, workers_of(fabric) if fabric else ALONE)
        for method, mode, predict in methods
    ]


def trains_graph(config: Config) -> bool:
    return config.graph is not None or (config.meta is not None and config.meta.method == "class-graph")


def base_features(model: GraphFewShot, data: LabelledSet) -> FeatureSet:
    """Set the model's base mean to that of the base classes; the features of these, minus it."""
    model.base_mean = model.base_mean.new_zeros(0)
    features = model.features(data)
    mean = features.mean()
    model.base_mean = mean.to(model.base_mean.device)
    features.items.sub_(mean)
    return features


def _calibrate(model: GraphFewShot, base: LabelledSet) -> None:
    """Take the statistics of batch norm anew, from base images as they are.

    Those that training gathers are of augmented images and of weights that have moved on since (Wu and
    Johnson, 2021, Rethinking "Batch" in BatchNorm). The loop keeps them with the weights it finds best.
    """
    here = model.base_mean.device
    order = torch.randperm(len(base), generator=torch.Generator().manual_seed(0))
    # Of equal size, as each counts the same.
    parts = order.tensor_split(math.ceil(len(order) / 256))
    batches = (model.preprocess(base.items[index].to(here)) for index in parts)
    with autocast(here, model.precision):
        update_bn(batches, model.backbone)


def _graph_predict(model: GraphFewShot, mode: str) -> Predict:
    joint, known = MODES[mode]
    return as_predict(model.classify, joint=joint, know_proportions=known)


def _accuracy(predict: Predict, sampler: EpisodeSampler) -> float:
    return evaluate(predict, sampler, method="validation", mode="").accuracy


def validation_samplers(
    config: Config, data: LabelledSet, queries: str = "balanced", noise: float = 0.0
) -> list[EpisodeSampler]:
    """A fixed set of 5-way episodes, 1-shot and 5-shot, as far as the classes and their images go."""
    least = int(data.counts.min()) if data.num_classes else 0
    if data.num_classes < 2 or least < 2:
        raise InputError(
            f"expected at least 2 classes of at least 2 images, got {data.num_classes} classes, the smallest "
            f"of {least}"
        )
    way, seed = min(5, data.num_classes), stages.seed(config.seed, 4)
    return [
        EpisodeSampler(
            data, way, shot, min(15, least - shot), 64, VAL_EPISODES, seed, queries=queries, label_noise=noise
        )
        for shot in (1, 5)
        if least > shot and (noise == 0 or round(noise * shot) > 0)
    ]


def final_samplers(config: Config, data: LabelledSet, workers: Workers = ALONE) -> list[EpisodeSampler]:
    options = config.evaluate
    return [
        EpisodeSampler(
            data,
            way,
            shot,
            options.query,
            episodes=options.episodes,
            seed=options.seed,
            rank=workers.rank,
            world=workers.world,
        )
        for way in options.ways
        for shot in options.shots
    ]
