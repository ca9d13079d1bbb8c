"""What a features file says of its classes: order, names and paths, in arrays of one entry per class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fewshot.core.errors import InputError
from fewshot.data.paths import find_paths

Arrays = Mapping[str, np.ndarray]


def check_columns(arrays: Arrays, path: Path) -> None:
    """Refuse arrays of classes that do not fit; without ``classes`` (or ``wnids``) others are ignored.

    Raises:
        InputError: a shape other than one entry per class, names or paths that are not text.
    """
    if (classes := _classes(arrays)) is None:
        return
    if classes.ndim != 1:
        raise InputError(f"{path}: classes: expected one label per class, got shape {list(classes.shape)}")
    for key in ("names", "paths"):
        if key in arrays and (arrays[key].shape != classes.shape or arrays[key].dtype.kind != "U"):
            got = f"{arrays[key].dtype} {list(arrays[key].shape)}"
            raise InputError(f"{path}: {key}: expected one text per class ({len(classes)}), got {got}")


def numbered(labels: np.ndarray, arrays: Arrays, path: Path) -> tuple[list[str], np.ndarray]:
    """The labels that occur, in the order of ``classes`` (without it, sorted), and each row's number.

    Args:
        labels: one per row, numbers or text.

    Raises:
        InputError: a label that is not in ``classes``.

    >>> numbered(np.array(["cat", "dog", "cat"]), {"features": np.eye(3)}, Path("f.npz"))
    (['cat', 'dog'], array([0, 1, 0]))
    """
    values, index = np.unique(labels, return_inverse=True)
    found = [str(value) for value in values]
    if "classes" not in arrays:
        return found, index
    place = {str(name): rank for rank, name in enumerate(arrays["classes"])}
    if strangers := [name for name in found if name not in place]:
        raise InputError(f"{path}: classes: expected every label, {strangers[0]!r:.60} is missing")
    order = np.argsort([place[name] for name in found], kind="stable")
    return [found[rank] for rank in order], np.argsort(order)[index]


def described(arrays: Arrays, ids: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """Names and paths of these classes: the file's, else the identifiers and the benchmarks' paths.

    >>> arrays = {"features": np.eye(2), "classes": np.array(["a", "b"]), "names": np.array(["x", "x"])}
    >>> described(arrays, ["a", "b"])
    (('x (a)', 'x (b)'), None)
    """
    names = [name or own for name, own in zip(_column(arrays, "names", ids), ids, strict=True)]
    shared = Counter(names)
    unique = (
        f"{name} ({own})" if shared[name] > 1 and name != own else name
        for name, own in zip(names, ids, strict=True)
    )
    paths = _column(arrays, "paths", ids)
    return tuple(unique), paths if any(paths) else find_paths(ids)


def _classes(arrays: Arrays) -> np.ndarray | None:
    return arrays.get("wnids" if arrays["features"].ndim == 3 else "classes")


def _column(arrays: Arrays, key: str, ids: Sequence[str]) -> tuple[str, ...]:
    """One text per class, ``""`` if the file has none."""
    classes = _classes(arrays)
    if classes is None or key not in arrays:
        return ("",) * len(ids)
    said = dict(zip(map(str, classes), map(str, arrays[key]), strict=True))
    return tuple(said[name] for name in ids)
