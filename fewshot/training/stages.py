"""The stages of training, each of them a loss and its batches for the loop.

- `pretrain`: classification of all base classes, the backbone with a cosine classifier;
- `meta`: episodes of base-class images, the backbone with prototypes or with the class graph;
- `graph`: the class graph alone, on features of the base classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import product
from typing import Any

import torch
from jaxtyping import Float, Int64
from numpy.random import SeedSequence
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.core.loop import Batch, Stage
from fewshot.core.transfer import send
from fewshot.data.augment import Augment
from fewshot.data.labelled import FeatureSet
from fewshot.data.packed import PackedDataset
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.model.few_shot import GraphFewShot
from fewshot.training.config import Config
from fewshot.training.losses import CosineClassifier, EpisodeLoss, GraphLoss, ImageLoss, PrototypeLoss
from fewshot.training.processes import ALONE, Workers

Validate = Callable[[], dict[str, float]]


def pretrain(
    config: Config, model: GraphFewShot, data: PackedDataset, validate: Validate, workers: Workers = ALONE
) -> Stage:
    """Classification of all base classes; see `fewshot.training.config.Pretrain`."""
    options = config.pretrain
    assert options is not None
    epoch = (options.images or len(data)) // options.batch  # steps
    with torch.no_grad():
        size = model.encode(data.items[:2].to(model.base_mean.device)).shape[1]
    module = ImageLoss(
        model.backbone, CosineClassifier(size, data.num_classes), options.label_smoothing, model.precision
    )
    optimizer = torch.optim.SGD(
        module.parameters(),
        options.lr,
        momentum=0.9,
        nesterov=True,
        weight_decay=options.weight_decay,
        fused=True,
    )
    augment = _augment(config)
    workers.share("pretrain.batch", options.batch)
    rows = torch.arange(options.batch)[workers.rank :: workers.world]

    def batches(start: int) -> Iterator[Batch]:
        for step in range(start, options.epochs * epoch):
            index = batch_indices(len(data), epoch * options.batch, options.batch, step, config.seed)[rows]
            images = data.items[send(index, data.items.device)]
            x = augmented(model, augment, images, seed(config.seed, 1, step), rows, options.batch)
            yield x, send(data.labels[index], x.device)

    return Stage(
        name="pretrain",
        module=module,
        batches=batches,
        steps=options.epochs * epoch,
        optimizer=optimizer,
        warmup=options.warmup,
        validate=validate,
        validate_every=options.validate_every * epoch,
        rate=(options.batch, "images"),
    )


def meta(
    config: Config, model: GraphFewShot, data: PackedDataset, validate: Validate, workers: Workers = ALONE
) -> Stage:
    """Episodes of base-class images; see `fewshot.training.config.Meta`."""
    options = config.meta
    assert options is not None
    method = GraphLoss(model.graph) if options.method == "class-graph" else PrototypeLoss()
    module = EpisodeLoss(model.backbone, method, model.precision, workers)
    optimizer = torch.optim.AdamW(
        module.parameters(), options.lr, weight_decay=options.weight_decay, fused=True
    )
    augment = _augment(config)
    # A batch's images: all supports, then all queries.
    counts = [sampler.batch * workers.world for sampler in meta_samplers(config, data, 0, workers)]
    blocks = [(b, options.way * each) for each in (options.shot, options.query) for b in counts]
    rows, images = own_rows(blocks, workers), sum(b * each for b, each in blocks)

    def batches(start: int) -> Iterator[Batch]:
        streams = [iter(sampler) for sampler in meta_samplers(config, data, start, workers)]
        for step, parts in enumerate(zip(*streams, strict=True), start):
            episodes = [(p.support.flatten(0, 2), p.query.flatten(0, 1)) for p in parts]
            own = torch.cat([*(support for support, _ in episodes), *(query for _, query in episodes)])
            x = augmented(model, augment, own, seed(config.seed, 2, step), rows, images)
            labels = send(torch.cat([p.query_labels for p in parts]), x.device)
            shares = send(torch.cat([p.proportions for p in parts]), x.device)
            yield x, labels, shares, options.shot

    return Stage(
        name="meta",
        module=module,
        batches=batches,
        steps=options.steps,
        optimizer=optimizer,
        warmup=options.warmup,
        validate=validate,
        validate_every=options.validate_every,
        rate=(options.batch, "episodes"),
    )


def graph(
    config: Config, model: GraphFewShot, features: FeatureSet, validate: Validate, workers: Workers = ALONE
) -> Stage:
    """The class graph alone, on transformed features of base classes; see `fewshot.training.config.Graph`."""
    options = config.graph
    assert options is not None
    module = GraphLoss(model.graph)
    optimizer = torch.optim.AdamW(
        module.parameters(), options.lr, weight_decay=options.weight_decay, fused=True
    )

    def batches(start: int) -> Iterator[Batch]:
        device = model.base_mean.device
        count = len(conditions(config))
        # Step s is batch s // count of condition s % count.
        firsts = [(start - i + count - 1) // count for i in range(count)]
        streams = [iter(s) for s in graph_samplers(config, features, firsts, workers)]
        for step in range(start, options.steps):
            episode = next(streams[step % count]).to(device)
            yield episode.support, episode.query, episode.query_labels, episode.proportions

    return Stage(
        name="graph",
        module=module,
        batches=batches,
        steps=options.steps,
        optimizer=optimizer,
        warmup=options.warmup,
        validate=validate,
        validate_every=options.validate_every,
        rate=(options.batch, "episodes"),
    )


def meta_samplers(
    config: Config, data: PackedDataset, start: int = 0, workers: Workers = ALONE
) -> list[EpisodeSampler]:
    """The samplers whose batches make up a step of `meta`: of any classes, of near ones, or both."""
    options = config.meta
    assert options is not None
    hard = round(options.hard * options.batch)
    if hard and data.superclasses is None and data.taxonomy is None:
        raise InputError(
            f"hard: expected 0, as these classes have no superclasses and no taxonomy, got {options.hard:g}"
        )
    samplers = []
    for number, (classes, batch) in enumerate([("uniform", options.batch - hard), ("hard", hard)]):
        if batch:
            own_seed = seed(config.seed, 2, number)
            name = f"meta.batch, {classes} classes" if 0 < hard < options.batch else "meta.batch"
            shape = (options.way, options.shot, options.query, workers.share(name, batch))
            samplers.append(_sampler(data, *shape, start, own_seed, workers, classes=classes))
    return samplers


def conditions(config: Config) -> list[dict[str, Any]]:
    """The combinations of way, shot, query shares and label noise that the steps of `graph` go round."""
    options = config.graph
    assert options is not None
    return [
        {"way": way, "shot": shot, "queries": queries, "label_noise": noise}
        for way, shot, queries, noise in product(options.ways, options.shots, options.queries, options.noise)
    ]


def graph_samplers(
    config: Config,
    data: FeatureSet | PackedDataset,
    starts: list[int] | None = None,
    workers: Workers = ALONE,
) -> list[EpisodeSampler]:
    """One sampler a condition of `graph`, each from its own batch on."""
    options = config.graph
    assert options is not None
    samplers = []
    for number, condition in enumerate(conditions(config)):
        start = starts[number] if starts else 0
        way, shot = condition.pop("way"), condition.pop("shot")
        number_seed = seed(config.seed, 3, number)
        own = workers.share("graph.batch", options.batch)
        samplers.append(
            _sampler(data, way, shot, options.query, own, start, number_seed, workers, **condition)
        )
    return samplers


def _sampler(
    data: Any,
    way: int,
    shot: int,
    query: int,
    batch: int,
    start: int,
    number: int,
    workers: Workers,
    **options: Any,
) -> EpisodeSampler:
    """An endless sampler of a process's own part of each batch, from a batch on."""
    return EpisodeSampler(
        data,
        way,
        shot,
        query,
        batch,
        None,
        number,
        start=start * batch * workers.world,
        rank=workers.rank,
        world=workers.world,
        **options,
    )


def own_rows(blocks: list[tuple[int, int]], workers: Workers) -> Int64[Tensor, " own"]:
    """Where this process's images stand among those of the whole batch.

    Args:
        blocks: (episodes, images an episode) of each run of images in the whole batch.
        workers: of which the r-th has every world-th episode of each block from the r-th on.

    >>> own_rows([(2, 3), (2, 1)], Workers(rank=1, world=2)).tolist()
    [3, 4, 5, 7]
    """
    numbers = torch.arange(sum(episodes * each for episodes, each in blocks))
    parts = numbers.split([episodes * each for episodes, each in blocks])
    own = [p.view(block)[workers.rank :: workers.world] for p, block in zip(parts, blocks, strict=True)]
    return torch.cat([p.flatten() for p in own])


def batch_indices(images: int, epoch: int, batch: int, step: int, number: int) -> Int64[Tensor, " batch"]:
    """The images of a pretraining step: each epoch takes ``epoch`` of them, shuffled anew, each at most once.

    >>> epochs = [torch.cat([batch_indices(6, 6, 2, 3 * e + s, 0) for s in range(3)]) for e in range(2)]
    >>> [sorted(epoch.tolist()) for epoch in epochs]
    [[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5]]
    """
    steps = epoch // batch
    generator = torch.Generator().manual_seed(seed(number, 1, step // steps))
    first = step % steps * batch
    order = torch.randperm(images, generator=generator)
    return order.repeat(-(-epoch // images))[first : first + batch]


def seed(*numbers: int) -> int:
    """One seed of several numbers, unrelated for any two different ones.

    >>> seed(0, 1) == seed(0, 1), seed(0, 1) == seed(1, 0)
    (True, False)
    """
    return int(SeedSequence(numbers).generate_state(1)[0])


def augmented(
    model: GraphFewShot,
    augment: Augment,
    images: Tensor,
    number: int,
    rows: Int64[Tensor, " n"],
    total: int,
) -> Float[Tensor, "n c h w"]:
    """The backbone's input of uint8 images, augmented by a seed, on the model's device.

    They are these rows of a batch of ``total`` images, and come out as they would among all of these.
    """
    x = model.preprocess(send(images, model.base_mean.device))
    x = augment(x, torch.Generator().manual_seed(number), rows, total)
    return x.contiguous(memory_format=torch.channels_last)


def _augment(config: Config) -> Augment:
    return Augment(**asdict(config.augment))
