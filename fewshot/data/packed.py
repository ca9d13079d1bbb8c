"""Packed images: all splits of a data set as one memory-mapped uint8 array on disk, and its description.

A pack is a folder with two files: ``images.npy`` (uint8 ``[n, C, H, W]``, sorted by split, then by class) and
``meta.json`` (classes, counts, hashes, and a checksum of all these).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, Shaped, UInt8
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.core.files import expanded, write_text
from fewshot.core.untrusted.arrays import map_npy
from fewshot.core.untrusted.documents import read_json
from fewshot.data.labelled import SPLITS, LabelledSet
from fewshot.data.pack_meta import check_meta
from fewshot.data.paths import paths_of

FORMAT = 1
IMAGES_FILE, META_FILE = "images.npy", "meta.json"


@dataclass(frozen=True, eq=False, repr=False)
class PackedDataset(LabelledSet):
    """One split of packed images: uint8 ``items`` ``[n, C, H, W]`` over a memory map; a torch ``Dataset``.

    A pickle of it holds no image, only the path of the pack: worker processes map the same file again.

    Args:
        class_ids: the classes' identifiers in their source (wnids, folders); default their names.
        hash: sha256 over images, labels and class names, in hexadecimal; default none.
        path: the pack's folder; None (default) for images that are in memory only.
        start: the index of this split's first image in the pack; default 0.
        name: the source's name; default none.

    Example:
        >>> images = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
        >>> data = PackedDataset(images, torch.tensor([0, 0, 1]), ("cat", "dog"), name="pets")
        >>> data.size, data.channels, data[2][1]
        (8, 1, 1)
        >>> data
        PackedDataset(2 classes, 3 images 1×8×8, "pets")
    """

    class_ids: tuple[str, ...] = ()
    hash: str = ""
    path: Path | None = None
    start: int = 0
    name: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.items.dtype != torch.uint8 or self.items.dim() != 4:
            raise InputError(
                f"items: expected uint8 images [n, C, H, W], got {self.items.dtype} {list(self.items.shape)}"
            )
        if not self.class_ids:
            object.__setattr__(self, "class_ids", self.class_names)

    def __repr__(self) -> str:
        name = f', "{self.name}"' if self.name else ""
        return f"{type(self).__name__}({self._sizes('images ')}{name})"

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.items[index], int(self.labels[index])

    @property
    def images(self) -> UInt8[Tensor, "n C H W"]:
        """The images (the items)."""
        return self.items

    @property
    def size(self) -> int:
        """The images' side in pixels."""
        return self.items.shape[-1]

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return self.items.shape[1]

    def __getstate__(self) -> dict[str, Any]:
        state = {field.name: getattr(self, field.name) for field in fields(self)}
        return state if self.path is None else {**state, "items": len(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if isinstance(state["items"], int):
            stop = state["start"] + state["items"]
            state = {**state, "items": _map_images(state["path"])[state["start"] : stop]}
        self.__dict__.update(state)


@dataclass(frozen=True, eq=False, repr=False)
class Splits:
    """The three splits of one pack. Iterating yields ``(split name, set)``.

    Args:
        train, val, test: the splits; no class is in two of them.
        name: the source's name.
        hash: sha256 over the three splits' hashes, in hexadecimal.
        path: the pack's folder.

    >>> one = PackedDataset(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), torch.tensor([0]), ("cat",))
    >>> Splits(train=one, val=one, test=one, name="pets", hash="", path=Path("pets"))
    Splits("pets", classes: 1 train, 1 val, 1 test)
    """

    train: PackedDataset
    val: PackedDataset
    test: PackedDataset
    name: str
    hash: str
    path: Path

    def __iter__(self) -> Iterator[tuple[str, PackedDataset]]:
        return iter([("train", self.train), ("val", self.val), ("test", self.test)])

    def __repr__(self) -> str:
        classes = ", ".join(f"{data.num_classes:,} {split}" for split, data in self)
        return f'Splits("{self.name}", classes: {classes})'

    def verify(self) -> None:
        """Hash every image again.

        Raises:
            InputError: a split differs from what was packed.
        """
        for split, data in self:
            if digest(data.images, data.labels, data.class_names) != data.hash:
                raise InputError(
                    f"{self.path}: altered since it was packed: the hash of split '{split}' differs"
                )


def open_pack(path: str | Path) -> Splits:
    """The splits of a pack: its description is read, its images are mapped.

    Raises:
        InputError: not a pack, or one that is truncated or whose description was altered.
    """
    path = expanded(path).absolute()
    meta = _read_meta(path)
    images = _map_images(path)
    classes = {split: meta["splits"][split]["classes"] for split in SPLITS}
    total = sum(entry["count"] for split in SPLITS for entry in classes[split])
    expected = (total, meta["channels"], meta["size"], meta["size"])
    if tuple(images.shape) != expected or images.dtype != torch.uint8:
        raise InputError(
            f"{path / IMAGES_FILE}: expected uint8 {list(expected)}, got {images.dtype} {list(images.shape)}"
        )
    sets, start = {}, 0
    for split in SPLITS:
        counts = [entry["count"] for entry in classes[split]]
        stop = start + sum(counts)
        sets[split] = PackedDataset(
            items=images[start:stop],
            labels=labels_of(counts),
            class_names=tuple(entry["name"] for entry in classes[split]),
            superclasses=_of_all(classes[split], "superclass"),
            taxonomy=_of_all(classes[split], "taxonomy"),
            paths=paths_of(meta["name"], classes[split]),
            class_ids=tuple(entry["id"] for entry in classes[split]),
            hash=meta["splits"][split]["hash"],
            path=path,
            start=start,
            name=meta["name"],
        )
        start = stop
    return Splits(**sets, name=meta["name"], hash=meta["hash"], path=path)


def labels_of(counts: list[int]) -> Int64[Tensor, " n"]:
    """Each class c ``counts[c]`` times, ascending."""
    return torch.arange(len(counts)).repeat_interleave(torch.tensor(counts, dtype=torch.int64))


def digest(
    images: UInt8[Tensor, "n C H W"], labels: Int64[Tensor, " n"], class_names: tuple[str, ...]
) -> str:
    """sha256 over images (their shape too), labels and class names, in hexadecimal."""
    hasher = hashlib.sha256(json.dumps([list(images.shape), list(class_names)]).encode())
    hasher.update(labels.numpy().tobytes())
    for block in images.split(4096):  # in blocks, as a map may be larger than the memory
        hasher.update(memoryview(block.contiguous().numpy()))
    return hasher.hexdigest()


def write_meta(path: Path, meta: dict[str, Any]) -> None:
    """Write a pack's description with its checksum."""
    write_text(path / META_FILE, json.dumps({"checksum": _checksum(meta), "meta": meta}, indent=1))


def _read_meta(path: Path) -> dict[str, Any]:
    if not (path / META_FILE).exists():
        raise InputError(f"{path}: expected a pack (a folder with {IMAGES_FILE} and {META_FILE})")
    try:
        content = read_json(path / META_FILE)
        meta, checksum = content["meta"], content["checksum"]
        check_meta(meta)
    except (InputError, KeyError, TypeError, RecursionError):
        raise InputError(
            f"{path / META_FILE}: truncated or altered; delete the pack and make it again"
        ) from None
    if checksum != _checksum(meta):
        raise InputError(
            f"{path / META_FILE}: altered (its checksum differs); delete the pack and make it again"
        )
    if meta["format"] != FORMAT:
        raise InputError(f"{path}: expected a pack of format {FORMAT}, got {meta['format']}; make it again")
    return meta


def _checksum(meta: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()[:16]


def _map_images(path: Path) -> Shaped[Tensor, "n C H W"]:
    """The images of a pack over a memory map; nothing is read yet."""
    file = path / IMAGES_FILE
    try:
        # Private (copy on write): torch gets a map it may share, without write access to the file.
        array = map_npy(file)
        if array.dtype != np.uint8:
            raise InputError(f"values of the type {array.dtype}")
    except InputError:
        raise InputError(f"{file}: missing or truncated; delete the pack and make it again") from None
    return torch.from_numpy(array)


def _of_all(classes: list[dict[str, Any]], key: str) -> tuple[str, ...] | None:
    """That property of each class, or None if not every class has it."""
    values = tuple(entry[key] for entry in classes)
    return None if None in values or not values else values


def first_of_each(data: PackedDataset, images: int) -> LabelledSet:
    """The first images of each class: about `images` in all, but at least 20 per class, if it has as many."""
    each = max(20, images // max(data.num_classes, 1))
    counts = data.counts
    place = torch.arange(len(data)) - (counts.cumsum(0) - counts)[data.labels]  # of an image in its class
    return _taken(data, (place < each).nonzero().flatten())


def evenly_spaced(data: PackedDataset, images: int) -> LabelledSet:
    """About `images` images at equal distances, whatever their classes."""
    return _taken(data, torch.arange(0, len(data), max(1, len(data) // images)))


def _taken(data: PackedDataset, index: Tensor) -> LabelledSet:
    return LabelledSet(data.items[index], data.labels[index], data.class_names)
