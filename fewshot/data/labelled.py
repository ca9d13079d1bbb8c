"""Labelled sets: items of any kind with class labels, and features as one such kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.core.untrusted.arrays import Header, read_npy, read_npz
from fewshot.core.untrusted.guard import reading
from fewshot.data.class_columns import check_columns, described, numbered

SPLITS = ("train", "val", "test")
ARRAYS = ("features", "labels", "wnids", "split", "classes", "names", "paths")  # of a file of features
RIGHT = {  # lines that write files as they are expected, by the number of the features' dimensions
    2: "np.savez(FILE, features=X, labels=y, split=np.full(len(y), 'test')) would be right",
    3: "np.savez(FILE, features=X, wnids=NAMES, split=np.full(len(X), 'test')) would be right",
}


@dataclass(frozen=True, eq=False, repr=False)
class LabelledSet:
    """Items with class labels, those of each class next to each other: what an episode sampler draws from.

    Args:
        items: ``[n, ...]``, one item per row.
        labels: int64 ``[n]``, ascending, values in ``0 .. classes - 1``.
        class_names: one name per class.
        superclasses: one coarser class per class, or None (default).
        taxonomy: one path from the root per class (``"entity/animal/snake/boa"``), or None (default).
        paths: one path from the root per class for relations, ``""`` if unknown, or None; by default the
            taxonomy. Unlike the taxonomy, paths do not decide which classes are near in hard episodes.

    Raises:
        InputError: lengths that do not fit, labels out of order or out of range.

    Example:
        >>> points = LabelledSet(torch.randn(3, 2), torch.tensor([0, 0, 1]), ("cat", "dog"))
        >>> len(points), points.num_classes, points.counts.tolist()
        (3, 2, [2, 1])
        >>> points
        LabelledSet(2 classes, 3 items of 2)
    """

    items: Shaped[Tensor, "n ..."]
    labels: Int64[Tensor, " n"]
    class_names: tuple[str, ...]
    superclasses: tuple[str, ...] | None = None
    taxonomy: tuple[str, ...] | None = None
    paths: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if len(self.items) != len(self.labels):
            raise InputError(f"labels: expected one per item ({len(self.items)}), got {len(self.labels)}")
        if self.paths is None:
            object.__setattr__(self, "paths", self.taxonomy)
        for name in ("superclasses", "taxonomy", "paths"):
            values = getattr(self, name)
            if values is not None and len(values) != self.num_classes:
                raise InputError(f"{name}: expected one per class ({self.num_classes}), got {len(values)}")
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

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._sizes('items of ')})"

    def _sizes(self, items: str) -> str:
        """How many classes and items there are, and the shape of an item."""
        classes = "1 class" if self.num_classes == 1 else f"{self.num_classes:,} classes"
        return f"{classes}, {len(self):,} {items}{'×'.join(map(str, self.items.shape[1:]))}"

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def counts(self) -> Int64[Tensor, " classes"]:
        """How many items each class has."""
        return torch.bincount(self.labels, minlength=self.num_classes)


@dataclass(frozen=True, eq=False, repr=False)
class FeatureSet(LabelledSet):
    """Features with class labels: float ``items`` ``[n, D]``.

    Example:
        >>> data = FeatureSet(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([0, 1]), ("cat", "dog"))
        >>> data, data.mean()
        (FeatureSet(2 classes, 2 features of 2), tensor([2., 3.]))
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.items.is_floating_point() or self.items.dim() != 2:
            raise InputError(f"items: expected float [n, D], got {self.items.dtype} {list(self.items.shape)}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._sizes('features of ')})"

    @classmethod
    def like(cls, data: LabelledSet, features: Float[Tensor, "n D"]) -> FeatureSet:
        """Features of a data set's items, with its labels, names and paths."""
        kept = {field.name: getattr(data, field.name) for field in fields(LabelledSet)}
        return cls(**{**kept, "items": features})

    @property
    def features(self) -> Float[Tensor, "n D"]:
        """The features (the items)."""
        return self.items

    def mean(self) -> Float[Tensor, " D"]:
        """The mean over all items; for a train split it is the base mean that callers subtract."""
        return self.items.mean(dim=0)

    @staticmethod
    def from_npz(path: str | Path, split: str = "test") -> FeatureSet:
        """One split of an .npz file of features, as float32.

        Args:
            path: the file, with ``features [classes, images, D]``, ``wnids [classes]``, ``split [classes]``,
                or with ``features [n, D]``, ``labels [n]``, ``split [n]`` and optionally ``classes [C]``, the
                labels in the order of the classes (default: sorted). In the order of ``wnids`` or
                ``classes`` there may be ``names`` and ``paths``, texts, one per class. Without paths, those
                of the benchmarks' classes are found by the wnids.
            split: the split's name in the file; default "test".

        Raises:
            InputError: not such a file, shapes that do not fit, no such split, values that are not finite.

        Example:
            >>> import tempfile
            >>> file = Path(tempfile.mkdtemp()) / "features.npz"
            >>> np.savez(file, features=np.eye(3), labels=["dog", "cat", "dog"], split=["test"] * 3)
            >>> data = FeatureSet.from_npz(file)
            >>> data.class_names, data.labels.tolist()
            (('cat', 'dog'), [0, 1, 1])
        """
        return _split(_read_npz(Path(path)), Path(path), split)

    @staticmethod
    def from_npy(path: str | Path) -> FeatureSet:
        """An .npy file of features, all of one split, as float32.

        Args:
            path: the file, with ``features [classes, images, D]``, whose classes are named by numbers; or
                with ``features [n, D]`` and, next to it, the labels ``[n]``: ``NAME.labels.npy`` for
                ``NAME.npy``.

        Raises:
            InputError: not such a file, no labels, shapes that do not fit, values that are not finite.

        Example:
            >>> import tempfile
            >>> folder = Path(tempfile.mkdtemp())
            >>> np.save(folder / "mine.npy", np.eye(3))
            >>> np.save(folder / "mine.labels.npy", ["dog", "cat", "dog"])
            >>> FeatureSet.from_npy(folder / "mine.npy").class_names
            ('cat', 'dog')
        """
        path = Path(path)
        arrays = {"features": _read_npy(path)}
        count = len(arrays["features"]) if arrays["features"].ndim else 0
        if arrays["features"].ndim == 3:
            arrays["wnids"] = np.arange(count).astype(str)
        else:
            arrays["labels"] = _read_npy(path.with_suffix(".labels.npy"))
        return _split(_checked(arrays | {"split": np.full(count, "test")}, path), path, "test")


def _split(arrays: dict[str, np.ndarray], path: Path, split: str) -> FeatureSet:
    """One split of a features file's arrays."""
    features, in_split = arrays["features"], arrays["split"] == split
    if not in_split.any():
        known = ", ".join(map(str, np.unique(arrays["split"])))
        raise InputError(f"{path}: split: expected one of {known}, got '{split}'")
    features = features[in_split]
    if features.ndim == 3:
        ids = [str(name) for name in arrays["wnids"][in_split]]
        labels = np.arange(len(ids)).repeat(features.shape[1])
        features = features.reshape(-1, features.shape[-1])
    else:
        ids, labels = numbered(arrays["labels"][in_split], arrays, path)
        order = np.argsort(labels, kind="stable")
        features, labels = features[order], labels[order]
    with np.errstate(over="ignore"):  # numbers that are too large become infinite, which is refused
        items = torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32))
    if not items.isfinite().all():
        raise InputError(f"{path}: features: expected finite numbers, got NaN or infinity in split '{split}'")
    names, paths = described(arrays, ids)
    return FeatureSet(items, torch.from_numpy(labels.astype(np.int64)), names, paths=paths)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        raise InputError(f"{path}: no such file")
    arrays = read_npz(path, ARRAYS, lambda headers: _check_shapes(headers, path))
    return _checked(arrays, path)


def _read_npy(path: Path) -> np.ndarray:
    if not path.exists() and path.name.endswith(".labels.npy"):
        raise InputError(
            f"{path}: no such file (np.save({path.name!r}, y) next to the features would be right)"
        )
    if not path.exists():
        raise InputError(f"{path}: no such file")
    return read_npy(path)


def _check_shapes(arrays: Mapping[str, Header | np.ndarray], path: Path) -> None:
    """Refuse arrays of a features file, or their headers, whose shapes do not fit."""
    features = arrays.get("features")
    if features is None or len(features.shape) not in (2, 3):
        got = sorted(arrays) if features is None else list(features.shape)
        raise InputError(f"{path}: expected features [classes, images, D] or [n, D], got {got} ({RIGHT[2]})")
    if 0 in features.shape[1:]:
        raise InputError(f"{path}: features: expected numbers, got none in shape {list(features.shape)}")
    for name in ("wnids" if len(features.shape) == 3 else "labels", "split"):
        shape = arrays[name].shape if name in arrays else "nothing"
        if shape != features.shape[:1]:
            raise InputError(
                f"{path}: {name}: expected shape {features.shape[:1]} like features, got {shape} "
                f"({RIGHT[len(features.shape)]})"
            )
    if features.dtype.kind not in "fiu":
        raise InputError(f"{path}: features: expected numbers, got {features.dtype}")


def _checked(arrays: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """The arrays of a features file, after a check of their shapes."""
    _check_shapes(arrays, path)
    for name, array in arrays.items():
        if array.dtype.kind == "S":
            with reading(path, f"{name} in UTF-8"):
                arrays[name] = np.char.decode(array, "utf-8")
    check_columns(arrays, path)
    return arrays
