"""A file of features that several processes write together."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from lightning.fabric import Fabric

from fewshot.core.errors import InputError
from fewshot.core.files import remove, sweep, unfinished, write_array
from fewshot.core.untrusted.arrays import read_npy
from fewshot.data.features_file import write_features
from fewshot.data.labelled import FeatureSet
from fewshot.data.packed import PackedDataset
from fewshot.training.processes import on_first, workers_of

Encode = Callable[[str, PackedDataset], FeatureSet | None]


def write_together(out: Path, splits: dict[str, PackedDataset], encode: Encode, fabric: Fabric) -> None:
    """Write the features of a data set as one process would; each process encodes a part of each split.

    The parts lie in an unfinished folder next to the file until the first process has merged them. With
    processes on several machines that folder has to be one that all of them see.

    Args:
        out: the file.
        splits: images, by the name of their split.
        encode: from a split and its images to the features of this process's part, or to None for no part.
        fabric: the processes.

    Raises:
        InputError: as of `fewshot.data.features_file.write_features`, or as of ``encode`` in any process; on
            all processes.
    """
    folder = Path(fabric.broadcast(str(on_first(fabric, lambda: _folder(out)))))
    try:
        for number, (split, images) in enumerate(splits.items()):
            file = _part(folder, number, fabric.global_rank)
            problem = _problem(encode, split, images, file)
            for other in filter(None, workers_of(fabric).gather(problem)):
                raise InputError(other)
        on_first(fabric, lambda: _merge(out, splits, folder, fabric.world_size))
    finally:
        if fabric.is_global_zero:
            remove(folder)


def _folder(out: Path) -> Path:
    """A new folder for the parts, next to the file; a later command removes it if this one is killed."""
    target = Path(os.path.realpath(out))
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target.parent)
    folder = unfinished(target.with_suffix(""))
    folder.mkdir()
    return folder


def _part(folder: Path, split: int, rank: int) -> Path:
    return folder / f"split-{split}-{rank}.npy"


def _problem(encode: Encode, split: str, images: PackedDataset, file: Path) -> str:
    """Encode and write a part; returns what is wrong, since all processes have to stop for it."""
    try:
        part = encode(split, images)
        if part is not None:
            write_array(file, part.items.numpy())
    except InputError as error:
        return str(error)
    return ""


def _merge(out: Path, splits: dict[str, PackedDataset], folder: Path, world: int) -> None:
    found = {}
    for number, (split, images) in enumerate(splits.items()):
        files = [_part(folder, number, rank) for rank in range(world)]
        items = np.concatenate([read_npy(file) for file in files if file.exists()])
        found[split] = FeatureSet.like(images, torch.from_numpy(items))
    write_features(out, found, {split: images.class_ids for split, images in splits.items()})
