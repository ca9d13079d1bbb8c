"""Pretraining: classification of all base classes, by the backbone with a cosine classifier."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Int64
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.core.loop import Batch, Stage
from fewshot.core.seeds import seed, seeded
from fewshot.core.transfer import send
from fewshot.data.augment import Augment
from fewshot.data.cutmix import Box, draw_box
from fewshot.data.labelled import LabelledSet
from fewshot.data.packed import PackedDataset
from fewshot.evaluation.scores import as_predict
from fewshot.methods.prototypes import prototypes
from fewshot.model.few_shot import GraphFewShot
from fewshot.training.config import Pretrain
from fewshot.training.inputs import augmented
from fewshot.training.losses import CosineClassifier, ImageLoss
from fewshot.training.processes import ALONE, Workers
from fewshot.training.validation import ImageValidation


class Pretraining:
    """Classification of the images of all base classes; validated by prototypes.

    Args:
        options: the config's section `pretrain`.
        data: images of the base classes.
        validation: of the features.
        augment: random changes of the images.
        run_seed: of the run.
        workers: the processes that share each batch.

    Raises:
        InputError: fewer images than a batch, or a batch that the processes cannot share.
    """

    name = "pretrain"

    def __init__(
        self,
        options: Pretrain,
        data: PackedDataset,
        validation: ImageValidation,
        *,
        augment: Augment,
        run_seed: int,
        workers: Workers = ALONE,
    ) -> None:
        if len(data) < options.batch:
            raise InputError(f"pretrain.batch: expected at most {len(data)} (images), got {options.batch}")
        workers.share("pretrain.batch", options.batch)
        self.options, self.data, self.validation = options, data, validation
        self.augment, self.run_seed, self.workers = augment, run_seed, workers

    def begin(self, model: GraphFewShot) -> Stage:
        """The stage, with a classifier of random weights on the model's backbone."""
        options = self.options
        some = LabelledSet(self.data.items[:2], self.data.labels[:2], self.data.class_names)
        size = model.features(some).items.shape[1]
        with seeded(seed(self.run_seed, "pretrain", "weights")):
            classifier = CosineClassifier(size, self.data.num_classes)
        module = ImageLoss(model.backbone, classifier, options.label_smoothing, model.precision)
        optimizer = torch.optim.SGD(
            module.parameters(),
            options.lr,
            momentum=0.9,
            nesterov=True,
            weight_decay=options.weight_decay,
            fused=True,
        )
        methods = [as_predict(prototypes)]
        return Stage(
            name=self.name,
            module=module,
            batches=lambda start: self._batches(model, start),
            steps=options.epochs * self._epoch,
            optimizer=optimizer,
            warmup=options.warmup,
            validate=lambda: self.validation.scores(model, methods),
            validate_every=options.validate_every * self._epoch,
            rate=(options.batch, "images"),
            calibrated=lambda: self.validation.calibrated(model),
        )

    @property
    def _epoch(self) -> int:
        """Steps per epoch."""
        return (self.options.images or len(self.data)) // self.options.batch

    def _batches(self, model: GraphFewShot, start: int) -> Iterator[Batch]:
        batch, epoch = self.options.batch, self._epoch
        own = torch.arange(batch)[self.workers.rank :: self.workers.world]
        order = batch_indices(len(self.data), epoch * batch, batch, start, self.run_seed)
        for step, index in zip(range(start, self.options.epochs * epoch), order, strict=False):
            x, labels = self._images(model, step, index, own)
            box = self._box(step, *x.shape[2:])
            if box is None:
                yield x, labels
                continue
            if self.workers.world == 1:
                others, other_labels = x.roll(-1, 0), labels.roll(-1)
            else:  # the next image of the batch is another process's
                others, other_labels = self._images(model, step, index, (own + 1) % batch)
            yield box.paste(x, others), labels, other_labels, box.share

    def _images(self, model: GraphFewShot, step: int, index: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The images and labels in some places of a step's batch, whose images have these indices."""
        data, own = self.data, index[rows]
        images = data.items[send(own, data.items.device)]
        augment_seed = seed(self.run_seed, "pretrain", "augment", step)
        x = augmented(model, self.augment, images, augment_seed, rows, len(index))
        return x, send(data.labels[own], x.device)

    def _box(self, step: int, height: int, width: int) -> Box | None:
        """The box of the next image that each image of a step gets, if any."""
        generator = torch.Generator().manual_seed(seed(self.run_seed, "pretrain", "cutmix", step))
        mixes = torch.rand((), generator=generator).item() < self.options.cutmix
        return draw_box(height, width, generator) if mixes else None


def batch_indices(
    images: int, epoch: int, batch: int, start: int, run_seed: int
) -> Iterator[Int64[Tensor, " batch"]]:
    """The images of each step's batch, without end, in an order that does not depend on the start.

    Each epoch shuffles all images and takes the first ``epoch`` of them.

    Args:
        images: the number of images.
        epoch: images per epoch, a multiple of ``batch``; beyond ``images``, the shuffled images repeat.
        batch: images per step.
        start: the first step, counted from 0 over all epochs.
        run_seed: of the run.

    >>> batches = batch_indices(6, 6, 2, 0, 0)
    >>> epochs = [torch.cat([next(batches) for step in range(3)]) for epoch in range(2)]
    >>> [sorted(epoch.tolist()) for epoch in epochs]
    [[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5]]
    >>> next(batch_indices(6, 6, 2, 4, 0)).equal(epochs[1][2:4])
    True
    """
    number, done = divmod(start, epoch // batch)
    while True:
        generator = torch.Generator().manual_seed(seed(run_seed, "pretrain", "shuffle", number))
        order = torch.randperm(images, generator=generator).repeat(-(-epoch // images))
        yield from order[done * batch : epoch].split(batch)
        number, done = number + 1, 0
