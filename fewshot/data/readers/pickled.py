"""Images that are rows of arrays or lists in pickled files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from jaxtyping import Int64

from fewshot.core.errors import InputError
from fewshot.core.untrusted.guard import brief
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
    """Text, also from what Python 2 or 3 wrote as bytes; numbers as text.

    Raises:
        InputError: something else.
    """
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if not isinstance(value, str | int | np.integer):
        raise InputError(f"expected text, got {brief(value)}")
    return str(value)


def texts(values: Any, where: str) -> list[str]:
    """A list of texts.

    Raises:
        InputError: something else.
    """
    if not isinstance(values, list | tuple | np.ndarray) or np.ndim(values[:0]) != 1:
        raise InputError(f"{where}: expected a list of names, got {brief(values)}")
    try:
        return [text(value) for value in values]
    except InputError as error:
        raise InputError(f"{where}: expected a list of names: {error}") from None


def whole_numbers(values: Any, where: str) -> Int64[np.ndarray, " n"]:
    """Labels or rows as an array.

    Raises:
        InputError: they are not whole numbers in one row.
    """
    flat = isinstance(values, list | tuple) and all(isinstance(v, int | np.integer) for v in values)
    if flat or isinstance(values, np.ndarray):  # anything else may be nested, to any size
        with suppress(ValueError, OverflowError):  # a number beyond 64 bits
            array = np.asarray(values)
            if array.ndim == 1 and (array.dtype.kind in "iu" or not len(array)):
                return array.astype(np.int64)
    got = f"{values.dtype} {list(values.shape)}" if isinstance(values, np.ndarray) else brief(values)
    raise InputError(f"{where}: expected whole numbers, one per image, got {got}")


def indexes_by_label(labels: Any, where: str) -> dict[int, list[int]]:
    """The rows of each label, labels ascending.

    Raises:
        InputError: the labels are not whole numbers in one row.
    """
    values = whole_numbers(labels, where)
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
