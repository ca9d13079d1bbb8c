"""`fewshot features`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fewshot.cli.files import OutputFile, check_outputs, read_of_data, read_of_source
from fewshot.core.errors import InputError
from fewshot.core.files import say, tell

if TYPE_CHECKING:
    from fewshot.data.labelled import FeatureSet
    from fewshot.data.packed import PackedDataset
    from fewshot.model.few_shot import GraphFewShot


def features(source: str, *, data: str, out: OutputFile, devices: str | None = None) -> None:
    """Write the features of a data set, with the classes' names and paths, for fewshot compare.

    Your own network is FILE.py:NAME, a function (or a module) from float images [n, C, H, W] to features
    [n, D]; NAME.input = {"size": 224, "channels": 3, "mean": [...], "std": [...]} says what it expects, with
    mean and std of values from 0 to 1 (default: the data's own size, values from -1 to 1).

    Example: fewshot features timm:resnet18.a1_in1k --data folder:photos --out photos.npz
    Example: fewshot features mine.py:encode --data folder:photos --out photos.npz
    Example: torchrun --nproc-per-node 4 -m fewshot features imagenet --data folder:photos --out photos.npz

    Args:
        source: What fewshot train wrote, a ready model (imagenet, timm:NAME or torchvision:NAME), or
            FILE.py:NAME.
        data: KIND[:PATH]; all its splits are encoded.
        out: The file to write; its name ends in .npz.
        devices: Number of GPUs, or of processes if there is no GPU, that share the images; auto: all GPUs.
            Default: one; under torchrun, its processes.
    """
    from fewshot.data.features_file import write_features

    if out.suffix.lower() != ".npz":
        raise InputError(f"out: expected a file that ends in .npz, got '{out}'")
    if not _alone(devices):
        _together(source, data, out, devices)
        return
    check_outputs(out, inputs=[*read_of_source(source), *read_of_data(data)])
    model = _encoder(source)
    splits = _splits(model, data)
    found = {}
    for split, images in splits.items():
        tell(f"{split}: encoding {len(images):,} images")
        with _located(source):
            found[split] = model.features(images)
        _check(found[split], source)
    write_features(out, found, {split: images.class_ids for split, images in splits.items()})
    say(out)


def _alone(devices: str | None) -> bool:
    """Whether one process is asked for, and torchrun has not started this one as one of several."""
    started = int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 1
    return devices in (None, "1") and started == 1


def _together(source: str, data: str, out: Path, devices: str | None) -> None:
    """The same file, by several processes."""
    from fewshot.model.precision import resolve
    from fewshot.training.encoding import encoded_part
    from fewshot.training.feature_parts import write_together
    from fewshot.training.processes import launch, on_first, workers_of

    fabric = launch("auto" if devices is None else devices)
    workers = workers_of(fabric)

    def opened() -> tuple[GraphFewShot, dict[str, PackedDataset]]:
        model = _encoder(source).to(fabric.device)
        return model, _splits(model, data)

    on_first(fabric, lambda: check_outputs(out, inputs=[*read_of_source(source), *read_of_data(data)]))
    # The first process downloads and packs, and the others open what it has left.
    model, splits = on_first(fabric, opened) or opened()
    model.precision = fabric.broadcast(resolve(model.precision, fabric.device))  # one decides for all

    def encode(split: str, images: PackedDataset) -> FeatureSet | None:
        if fabric.is_global_zero:
            tell(f"{split}: encoding {len(images):,} images with {workers.world} processes")
        with _located(source):
            found = encoded_part(model, images, workers)
        if found is not None:
            _check(found, source)
        return found

    write_together(out, splits, encode, fabric)
    if fabric.is_global_zero:
        say(out)


def _splits(model: GraphFewShot, data: str) -> dict[str, PackedDataset]:
    """The splits that have images."""
    from fewshot.evaluation.inputs import load_data

    return {split: images for split, images in load_data(model, data) if len(images)}


@contextmanager
def _located(source: str) -> Iterator[None]:
    """What fails in the user's own network is one line."""
    from fewshot.core.own_code import is_own, where

    try:
        yield
    except Exception as error:
        if not is_own(source) or isinstance(error, InputError):
            raise
        raise InputError(f"source: {source} failed: {where(error)}") from error


def _check(found: FeatureSet, source: str) -> None:
    if not found.items.isfinite().all():
        raise InputError(f"source: expected finite features of {source}, got NaN or infinity")


def _encoder(source: str) -> GraphFewShot:
    """A checkpoint, a ready model, or the user's own network, on the GPU if there is one."""
    import torch

    from fewshot.core.own_code import is_own
    from fewshot.evaluation.inputs import load_model
    from fewshot.graph.class_graph import ClassGraph
    from fewshot.model.backbones.own import own_backbone
    from fewshot.model.few_shot import GraphFewShot

    if not is_own(source):
        return load_model(source)
    model = GraphFewShot(own_backbone(source), ClassGraph.pretrained(), precision="32-true").eval()
    return model.to("cuda" if torch.cuda.is_available() else "cpu")
