"""Meta-training: episodes of base-class images through the backbone, with prototypes or the class graph."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from fewshot.core.errors import InputError
from fewshot.core.loop import Batch, Stage
from fewshot.core.seeds import seed
from fewshot.core.transfer import send
from fewshot.data.augment import Augment
from fewshot.data.packed import PackedDataset
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.scores import as_predict
from fewshot.methods.prototypes import prototypes
from fewshot.model.few_shot import GraphFewShot
from fewshot.training.config import Meta
from fewshot.training.inputs import augmented, own_rows
from fewshot.training.losses import EpisodeLoss, GraphLoss, PrototypeLoss
from fewshot.training.processes import ALONE, Workers
from fewshot.training.samplers import endless, from_batch, located
from fewshot.training.validation import ImageValidation, graph_predict


class MetaTraining:
    """Episodes of images of the base classes; validated by the method that they are trained for.

    Args:
        options: the config's section `meta`.
        data: images of the base classes.
        validation: of the features.
        augment: random changes of the images.
        run_seed: of the run.
        workers: the processes that share each batch.

    Raises:
        InputError: names the way, shot or queries that the classes cannot serve, or the batch that the
            processes cannot share.
    """

    name = "meta"

    def __init__(
        self,
        options: Meta,
        data: PackedDataset,
        validation: ImageValidation,
        *,
        augment: Augment,
        run_seed: int,
        workers: Workers = ALONE,
    ) -> None:
        self.options, self.validation, self.augment = options, validation, augment
        self.run_seed, self.workers = run_seed, workers
        with located("meta (train split)"):
            self.samplers = samplers(options, data, run_seed, workers)

    def begin(self, model: GraphFewShot) -> Stage:
        """The stage, on the model's backbone, and its graph where that classifies the episodes."""
        options = self.options
        method = GraphLoss(model.graph) if options.trains_graph else PrototypeLoss()
        module = EpisodeLoss(model.backbone, method, model.precision, self.workers)
        optimizer = torch.optim.AdamW(
            module.parameters(), options.lr, weight_decay=options.weight_decay, fused=True
        )
        methods = [as_predict(prototypes)]
        if options.trains_graph:
            methods = [graph_predict(model, mode) for mode in ("inductive", "joint")]
        return Stage(
            name=self.name,
            module=module,
            batches=lambda start: self._batches(model, start),
            steps=options.steps,
            optimizer=optimizer,
            warmup=options.warmup,
            validate=lambda: self.validation.scores(model, methods),
            validate_every=options.validate_every,
            rate=(options.batch, "episodes"),
            calibrated=lambda: self.validation.calibrated(model),
        )

    def _batches(self, model: GraphFewShot, start: int) -> Iterator[Batch]:
        way, shot, query = self.options.way, self.options.shot, self.options.query
        # The images of a whole batch: the supports of all samplers, then their queries.
        counts = [sampler.batch * self.workers.world for sampler in self.samplers]
        blocks = [(episodes, way * each) for each in (shot, query) for episodes in counts]
        rows, images = own_rows(blocks, self.workers), sum(episodes * each for episodes, each in blocks)
        streams = [iter(from_batch(sampler, start)) for sampler in self.samplers]
        for step, parts in enumerate(zip(*streams, strict=True), start):
            episodes = [(p.support.flatten(0, 2), p.query.flatten(0, 1)) for p in parts]
            own = torch.cat([*(support for support, _ in episodes), *(query for _, query in episodes)])
            augment_seed = seed(self.run_seed, "meta", "augment", step)
            x = augmented(model, self.augment, own, augment_seed, rows, images)
            labels = send(torch.cat([p.query_labels for p in parts]), x.device)
            shares = send(torch.cat([p.proportions for p in parts]), x.device)
            yield x, labels, shares, shot


def samplers(
    options: Meta, data: PackedDataset, run_seed: int, workers: Workers = ALONE
) -> list[EpisodeSampler]:
    """The samplers whose batches make up a step: of classes at random, of classes near each other, or both.

    Raises:
        InputError: as `MetaTraining`, and hard episodes of classes without superclasses or taxonomy.
    """
    hard = round(options.hard * options.batch)
    if hard and data.superclasses is None and data.taxonomy is None:
        raise InputError(
            f"hard: expected 0, as these classes have no superclasses and no taxonomy, got {options.hard:g}"
        )
    made = []
    for classes, batch in (("uniform", options.batch - hard), ("hard", hard)):
        if batch:
            key = f"meta.batch, {classes} classes" if 0 < hard < options.batch else "meta.batch"
            sampler = endless(
                data,
                way=options.way,
                shot=options.shot,
                query=options.query,
                batch=workers.share(key, batch),
                seed=seed(run_seed, "meta", "episodes", classes),
                workers=workers,
                classes=classes,
            )
            made.append(sampler)
    return made
