"""Images that are rows of arrays or lists in pickled files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fewshot.core.errors import InputError
from fewshot.data.readers.archives import Archive
from fewshot.data.readers.unpickle import unpickle

Rows = Sequence[Any] | np.ndarray


def load_pickle(archive: Archive, name: str, *keys: str) -> dict[str, Any]:
    """A pickled dict of an archive, with its keys as text.

    Raises:
        InputError: an incomplete or refused pickle, not a dict, or a dict without some of ``keys``.
    """
    where = f"{archive.path}: {name}"
    content = unpickle(dict(archive.read([name]))[name], where)
    if not isinstance(content, Mapping):
        raise InputError(f"{where}: expected a dict with {', '.join(keys)}, got {type(content).__name__}")
    content = {text(key): value for key, value in content.items()}
    if missing := [key for key in keys if key not in content]:
        raise InputError(f"{where}: expected a dict with {', '.join(keys)}, found no {missing[0]}")
    return content


def text(value: Any) -> str:
    """Text, also from what Python 2 or 3 wrote as bytes."""
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def indexes_by_label(labels: Any, where: str) -> dict[int, list[int]]:
    """The rows of each label, labels ascending.

    Raises:
        InputError: the labels are not whole numbers in one row.
    """
    try:
        values = np.asarray(labels)
    except ValueError:
        values = np.empty(0)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise InputError(
            f"{where}: expected whole numbers, one per image, got {values.dtype} {list(values.shape)}"
        )
    order = np.argsort(values, kind="stable")
    found, starts = np.unique(values[order], return_index=True)
    return {int(label): part.tolist() for label, part in zip(found, np.split(order, starts[1:]), strict=True)}


def row_keys(file: str, indexes: Sequence[int]) -> tuple[str, ...]:
    """The keys of rows, as :func:`read_rows` takes them."""
    return tuple(f"{file}#{index}" for index in indexes)


def read_rows(rows: Callable[[str], Rows], keys: Collection[str]) -> Iterator[tuple[str, bytes | np.ndarray]]:
    """The images of some keys, one file at a time, so that the images of only one file are in memory.

    Args:
        rows: returns the images of a file: uint8 arrays ``[H, W, 3]``, or encoded images as bytes or arrays.
        keys: as from :func:`row_keys`.
    """
    wanted: dict[str, list[int]] = {}
    for key in keys:
        file, _, index = key.rpartition("#")
        wanted.setdefault(file, []).append(int(index))
    for file in sorted(wanted):
        images = rows(file)
        for row in sorted(wanted[file]):
            yield f"{file}#{row}", _image(images[row], f"{file}#{row}")


def _image(row: Any, name: str) -> bytes | np.ndarray:
    """Pixels as they are; an encoded file as bytes (OpenCV stores it as a column, Python 2 as text)."""
    if isinstance(row, np.ndarray):
        return row if row.ndim == 3 and row.shape[-1] == 3 else row.tobytes()
    if isinstance(row, str):
        return row.encode("latin-1", "replace")
    if isinstance(row, bytes):
        return row
    raise InputError(f"{name}: expected an image, got {type(row).__name__}")
