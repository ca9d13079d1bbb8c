"""Packs from any map-style torch ``Dataset`` of images and labels."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from fewshot.core.errors import InputError
from fewshot.core.files import expanded
from fewshot.data.labelled import SPLITS
from fewshot.data.packed import Splits
from fewshot.data.packing import write_pack
from fewshot.data.readers.pickled import indexes_by_label
from fewshot.data.readers.source import Source, SourceClass


def pack_dataset(
    dataset: Dataset[Any],
    out: str | Path,
    *,
    splits: Mapping[str, Collection[Any]],
    labels: Sequence[int] | Tensor | None = None,
    names: Sequence[str] | None = None,
    size: int | None = None,
    channels: int = 3,
    progress: bool = True,
) -> Splits:
    """Pack a torch data set into a folder, to be loaded as ``packed:OUT``.

    Args:
        dataset: returns ``(image, label)`` by index; an image is a Pillow image, a uint8 array ``[H,W]`` or
            ``[H,W,3]``, or a tensor ``[C,H,W]``, uint8 or float from 0 to 1. Leave out random transforms:
            each image is packed once. Use ``torch.utils.data.ConcatDataset`` to join parts that share their
            classes.
        out: the new folder.
        splits: which classes are in ``train``, ``val`` and ``test``, by name, or by label if there are no
            names; splits and classes may be left out.
        labels: one per image; by default the data set's ``targets`` or ``labels``, else every item is read
            once more for its label.
        names: one per label; by default the data set's ``classes``, else the labels.
        size: side in pixels; by default the images' own if all are equal and square, else 84.
        channels: 1 (grey) or 3 (colour).
        progress: whether to draw a progress bar on standard error.

    Raises:
        InputError: ``out`` exists, the data set has no length, labels do not fit, a class is unknown, has no
            image or is in two splits, or an item is not an image.

    Example:
        >>> import tempfile, torch
        >>> images = torch.randint(256, (6, 1, 16, 16), dtype=torch.uint8)
        >>> dataset = torch.utils.data.TensorDataset(images, torch.tensor([0, 1, 2] * 2))
        >>> data = pack_dataset(
        ...     dataset, Path(tempfile.mkdtemp()) / "pack", splits={"train": [2, 0], "test": [1]}, channels=1
        ... )
        >>> data.train.class_names, data.train.labels.tolist(), torch.equal(data.test.images, images[1::3])
        (('2', '0'), [0, 0, 1, 1], True)
    """
    out = expanded(out).absolute()
    if os.path.lexists(out):
        raise InputError(f"out: expected a path where nothing exists yet, got {out}")
    if not isinstance(dataset, Sized):
        raise InputError(f"dataset: expected one with a length, got {type(dataset).__name__}")
    rows = indexes_by_label(_labels(dataset, labels), "labels")
    if (count := sum(map(len, rows.values()))) != len(dataset):
        raise InputError(f"labels: expected one per image ({len(dataset)}), got {count}")
    source = Source(
        type(dataset).__name__,
        "dataset",
        _classes(rows, names or getattr(dataset, "classes", None), splits),
        lambda keys: ((key, pixels(dataset[int(key)][0], int(key))) for key in sorted(keys, key=int)),
    )
    return write_pack(source, out, size=size, channels=channels, progress=progress)


def _labels(dataset: Any, labels: Sequence[int] | Tensor | None) -> Sequence[int] | Tensor | list[int]:
    for found in (labels, getattr(dataset, "targets", None), getattr(dataset, "labels", None)):
        if found is not None:
            return found
    return [int(dataset[index][1]) for index in range(len(dataset))]


def _classes(
    rows: dict[int, list[int]], names: Sequence[str] | None, splits: Mapping[str, Collection[Any]]
) -> dict[str, list[SourceClass]]:
    if strangers := sorted(set(splits) - set(SPLITS)):
        raise InputError(f"splits: expected {', '.join(SPLITS)}, got {strangers[0]}")
    by_name = {str(label) if names is None else str(names[label]): indexes for label, indexes in rows.items()}
    home: dict[str, str] = {}
    found: dict[str, list[SourceClass]] = {split: [] for split in SPLITS}
    for split, classes in splits.items():
        for name in map(str, classes):
            if name not in by_name:
                raise InputError(
                    f"splits: class {name} of {split} has no image, or is not a class of the data set"
                )
            if name in home:
                raise InputError(f"splits: class {name} is both in {home[name]} and in {split}")
            home[name] = split
            found[split].append(SourceClass(name, name, tuple(map(str, by_name[name]))))
    return found


def pixels(image: Any, index: int) -> np.ndarray:
    """An item as uint8 ``[H, W]`` or ``[H, W, C]``."""
    if isinstance(image, Image.Image):
        return np.asarray(image if image.mode in ("L", "RGB", "RGBA") else image.convert("RGB"))
    if isinstance(image, Tensor) and image.dim() == 3 and image.shape[0] in (1, 3):
        return _from_tensor(image.detach().cpu(), index)
    plain = isinstance(image, np.ndarray) and image.dtype == np.uint8
    if plain and (image.ndim == 2 or image.shape[2:] == (3,)):
        return image
    form = f"{image.dtype} {list(image.shape)}" if hasattr(image, "shape") else type(image).__name__
    raise InputError(
        f"dataset: image {index}: expected a Pillow image, uint8 [H,W,3] or a tensor [C,H,W], got {form}"
    )


def _from_tensor(image: Tensor, index: int) -> np.ndarray:
    if image.is_floating_point():
        low, high = float(image.min()), float(image.max())
        if not 0 <= low <= high <= 1:
            raise InputError(
                f"dataset: image {index}: expected floats from 0 to 1 (leave out the normalisation), "
                f"got {low:.3g} to {high:.3g}"
            )
        image = (image * 255).round()
    return (image[0] if len(image) == 1 else image.permute(1, 2, 0)).byte().contiguous().numpy()
