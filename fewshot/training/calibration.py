"""Statistics of batch norm for weights that are validated and kept."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fewshot.data.labelled import LabelledSet
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.precision import autocast
from fewshot.training.processes import ALONE, Workers


@contextmanager
def calibrated(model: GraphFewShot, base: LabelledSet, workers: Workers = ALONE) -> Iterator[None]:
    """Inside, batch norm has the statistics of base images as they are; afterwards the model is as it was.

    The statistics that training gathers are those of augmented images, and of weights that have changed since
    (Wu and Johnson, 2021, Rethinking "Batch" in BatchNorm).

    Args:
        model: its backbone is calibrated.
        base: uint8 images of the base classes.
        workers: the processes that share the images.
    """
    modes = {module: module.training for module in model.modules()}
    buffers = {name: buffer.clone() for name, buffer in model.backbone.named_buffers()}
    norms = [module for module in model.backbone.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    try:
        model.backbone.train()
        # Not those that stay frozen, or that keep no statistics.
        _update(model, base, [norm for norm in norms if norm.training and norm.track_running_stats], workers)
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for name, buffer in model.backbone.named_buffers():
            buffer.copy_(buffers[name])
        for module, training in modes.items():
            module.training = training


@torch.no_grad()
def _update(model: GraphFewShot, base: LabelledSet, norms: list[_BatchNorm], workers: Workers) -> None:
    """Give batch norms the mean of the statistics of batches, each of which one process computes."""
    if not norms:
        return
    order = torch.randperm(len(base), generator=torch.Generator().manual_seed(0))
    # Of equal size, since each batch counts the same.
    parts = order.tensor_split(math.ceil(len(order) / 256))
    if any(isinstance(norm, nn.SyncBatchNorm) for norm in norms):  # all processes have to compute each batch
        workers = ALONE
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = 1.0  # the statistics are those of the last batch
    own = {}
    with autocast(model.device, model.precision):
        for number in range(workers.rank, len(parts), workers.world):
            model.backbone(model.preprocess(base.items[parts[number]].to(model.device)))
            own[number] = torch.cat([x for norm in norms for x in _statistics(norm)]).cpu()
    found: dict[int, Tensor] = {number: x for some in workers.gather(own) for number, x in some.items()}
    mean = torch.stack([found[number] for number in range(len(parts))]).mean(0)
    targets = [x for norm in norms for x in _statistics(norm)]
    for target, value in zip(targets, mean.split([len(x) for x in targets]), strict=True):
        target.copy_(value)
    for norm in norms:
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.fill_(len(parts))


def _statistics(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean, norm.running_var
