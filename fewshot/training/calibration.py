"""Statistics of batch norm for weights that are validated and kept."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.optim.swa_utils import update_bn

from fewshot.data.labelled import LabelledSet
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.precision import autocast


@contextmanager
def calibrated(model: GraphFewShot, base: LabelledSet) -> Iterator[None]:
    """Inside, batch norm has the statistics of base images as they are; afterwards the model is as it was.

    The statistics that training gathers are those of augmented images, and of weights that have changed since
    (Wu and Johnson, 2021, Rethinking "Batch" in BatchNorm).

    Args:
        model: its backbone is calibrated.
        base: uint8 images of the base classes.
    """
    modes = {module: module.training for module in model.modules()}
    buffers = {name: buffer.clone() for name, buffer in model.backbone.named_buffers()}
    try:
        _update(model, base)
        yield
    finally:
        for name, buffer in model.backbone.named_buffers():
            buffer.copy_(buffers[name])
        for module, training in modes.items():
            module.training = training


def _update(model: GraphFewShot, base: LabelledSet) -> None:
    order = torch.randperm(len(base), generator=torch.Generator().manual_seed(0))
    # Of equal size, since each batch counts the same.
    parts = order.tensor_split(math.ceil(len(order) / 256))
    batches = (model.preprocess(base.items[index].to(model.device)) for index in parts)
    with autocast(model.device, model.precision):
        update_bn(batches, model.backbone)
