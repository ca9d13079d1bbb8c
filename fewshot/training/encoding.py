"""Features of a data set's images, encoded by all processes together."""

from __future__ import annotations

import torch

from fewshot.data.labelled import FeatureSet, LabelledSet
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.preprocess import fitting_batch
from fewshot.training.processes import ALONE, Workers


def encoded(model: GraphFewShot, data: LabelledSet, workers: Workers = ALONE) -> FeatureSet:
    """`GraphFewShot.features`, of which each process computes a part; all of them get the whole.

    Args:
        model: the same in all processes.
        data: images uint8 ``[n, C, H, W]``.
        workers: the processes that share the images.
    """
    if workers.world == 1:
        return model.features(data)
    own = encoded_part(model, data, workers)
    parts = workers.gather(None if own is None else own.items)
    return FeatureSet.like(data, torch.cat([part for part in parts if part is not None]))


def encoded_part(model: GraphFewShot, data: LabelledSet, workers: Workers) -> FeatureSet | None:
    """The features of this process's part of the images; the parts in the order of ranks are the whole.

    The images are cut into blocks as by one process, and each process encodes some whole blocks: an image is
    always encoded with the same others, so its features do not depend on the number of processes, as long
    as each of them has as many threads.

    Returns:
        None if there are fewer blocks than processes and none is left for this one.
    """
    # Of the first process, in case another one has other threads and would make other blocks.
    batch = workers.gather(fitting_batch(data.items, model.preprocess.size, model.device))[0]
    rows = own_blocks(len(data), batch, workers)
    if rows.start == rows.stop:
        return None
    part = LabelledSet(data.items[rows], data.labels[rows], data.class_names)
    return model.features(part, batch)


def own_blocks(count: int, block: int, workers: Workers) -> slice:
    """The rows of a process, out of ``count``, in whole blocks of ``block`` rows.

    >>> [own_blocks(10, 3, Workers(rank, 3)) for rank in range(3)]
    [slice(0, 3, None), slice(3, 6, None), slice(6, 10, None)]
    """
    blocks = -(-count // block)
    start, stop = (blocks * rank // workers.world * block for rank in (workers.rank, workers.rank + 1))
    return slice(min(start, count), min(stop, count))
