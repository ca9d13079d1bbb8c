"""Labelled sets held in memory: packed images (a memory-mapped uint8 array on disk) and features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from fewshot.errors import InputError

FORMAT = 1
SPLITS = ("train", "val", "test")
IMAGES_FILE, META_FILE = "images.npy", "meta.json"


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """Items with class labels, the items of a class next to each other: what an episode sampler draws from.

    Args:
        items: ``[n, ...]``, one item a row.
        labels: int64 ``[n]``, ascending, values in ``0 .. classes - 1``.
        class_names: one name a class.
        superclasses: one coarser class a class, or None.
        taxonomy: one path from the root a class (``"entity/animal/snake/boa"``), or None.

    Raises:
        InputError: lengths that do not fit, labels out of order or out of range.

    Example:
        >>> points = LabelledSet(torch.randn(3, 2), torch.tensor([0, 0, 1]), ("cat", "dog"))
        >>> len(points), points.num_classes, points.counts.tolist()
        (3, 2, [2, 1])
    """

    items: Shaped[Tensor, "n ..."]
    labels: Int64[Tensor, " n"]
    class_names: tuple[str, ...]
    superclasses: tuple[str, ...] | None = None
    taxonomy: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if len(self.items) != len(self.labels):
            raise InputError(f"labels: expected one an item ({len(self.items)}), got {len(self.labels)}")
        for name in ("superclasses", "taxonomy"):
            values = getattr(self, name)
            if values is not None and len(values) != self.num_classes:
                raise InputError(f"{name}: expected one a class ({self.num_classes}), got {len(values)}")
        if len(self.labels):
            low, high = int(self.labels[0]), int(self.labels[-1])
            if (self.labels.diff() < 0).any():
                raise InputError(
                    "labels: expected ascending (the items of a class together), got unsorted ones"
                )
            if low < 0 or high >= self.num_classes:
                raise InputError(f"labels: expected 0..{self.num_classes - 1} (classes), got {low}..{high}")

    def __len__(self) -> int:
        return len(self.items)

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def counts(self) -> Int64[Tensor, " classes"]:
        """How many items each class has."""
        return torch.bincount(self.labels, minlength=self.num_classes)


@dataclass(frozen=True, eq=False)
class PackedDataset(LabelledSet):
    """One split of packed images: uint8 ``items`` ``[n, C, H, W]`` over a memory map, a torch ``Dataset`` too.

    A pickle of it holds no image, only where the pack lies: worker processes map the same file again.

    Args:
        class_ids: the classes' identifiers in their source (wnids, folder names); the names where there are none.
        hash: sha256 over images, labels and class names, in hexadecimal.
        path: the pack's folder; None for images that lie in memory only.
        start: the index of this split's first image in the pack.

    Example:
        >>> images = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
        >>> data = PackedDataset(images, torch.tensor([0, 0, 1]), ("cat", "dog"))
        >>> data.size, data.channels, data[2][1]
        (8, 1, 1)
    """

    class_ids: tuple[str, ...] = ()
    hash: str = ""
    path: Path | None = None
    start: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.items.dtype != torch.uint8 or self.items.dim() != 4:
            raise InputError(
                f"items: expected uint8 images [n, C, H, W], got {self.items.dtype} {list(self.items.shape)}"
            )
        if not self.class_ids:
            object.__setattr__(self, "class_ids", self.class_names)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.items[index], int(self.labels[index])

    @property
    def images(self) -> Shaped[Tensor, "n C H W"]:
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
        if self.path is not None:
            state["items"] = len(self)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if isinstance(state["items"], int):
            images = map_images(state["path"])
            state = {**state, "items": images[state["start"] : state["start"] + state["items"]]}
        self.__dict__.update(state)


@dataclass(frozen=True, eq=False)
class FeatureSet(LabelledSet):
    """Features with class labels: float ``items`` ``[n, D]``.

    Example:
        >>> data = FeatureSet(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([0, 1]), ("cat", "dog"))
        >>> data.mean()
        tensor([2., 3.])
    """

    @property
    def features(self) -> Float[Tensor, "n D"]:
        """The features (the items)."""
        return self.items

    def mean(self) -> Float[Tensor, " D"]:
        """The mean over all items; of a train split it is the base mean that callers subtract."""
        return self.items.mean(dim=0)


@dataclass(frozen=True, eq=False)
class Splits:
    """The three splits of one pack, and what they are called. Iterating gives ``(split name, set)``.

    Args:
        train, val, test: the splits; no class is in two of them.
        name: the source's name.
        hash: sha256 over the three splits' hashes, in hexadecimal.
        path: the pack's folder.
    """

    train: PackedDataset
    val: PackedDataset
    test: PackedDataset
    name: str
    hash: str
    path: Path

    def __iter__(self) -> Iterator[tuple[str, PackedDataset]]:
        return iter([("train", self.train), ("val", self.val), ("test", self.test)])


def map_images(path: Path) -> Shaped[Tensor, "n C H W"]:
    """The images of a pack, over a memory map; nothing is read yet."""
    # Mode "c" (private, copy on write) lets torch share the map without asking for write access to the file.
    return torch.from_numpy(np.load(path / IMAGES_FILE, mmap_mode="c", allow_pickle=False))
