"""Vectors in half precision that are only ever appended to, mapped from a file or still in memory."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import Float, Float16, Int64

from fewshot.core.files import replacing
from fewshot.core.untrusted.plain import check_plain

PART = 2**14  # rows that are copied at a time


class HalfRows:
    """Rows of D numbers in float16: those of a file, mapped, and new ones in memory until they are saved.

    Args:
        size: D.
        path: a file of nothing but rows; default None: none yet.
        rows: how many of its rows count; what follows them is ignored.

    Raises:
        InputError, OSError, ValueError: no such plain file, or it has fewer rows.

    >>> rows = HalfRows(2)
    >>> rows.append(np.eye(2)), rows.append(np.eye(2)), rows.take(np.array([3]))
    (0, 2, array([[0., 1.]], dtype=float16))
    """

    def __init__(self, size: int, path: Path | None = None, rows: int = 0) -> None:
        self.size, self.path = size, path
        self._saved: Float16[np.ndarray, "n D"] = np.zeros((0, size), np.float16)
        if path is not None and rows:
            check_plain(path, path.stat())
            self._saved = np.memmap(path, np.float16, "r", shape=(rows, size))
        self._fresh: list[Float16[np.ndarray, "n D"]] = []
        self._length = rows

    def __len__(self) -> int:
        return self._length

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_saved": np.array(self._saved)}  # a pickle holds the rows themselves

    def append(self, rows: Float[np.ndarray, "n D"]) -> int:
        """Add rows; returns where they start."""
        self._fresh.append(rows.astype(np.float16))
        self._length += len(rows)
        return self._length - len(rows)

    def take(self, index: Int64[np.ndarray, " n"]) -> Float16[np.ndarray, "n D"]:
        """The rows of these numbers."""
        if len(self._fresh) > 1:
            self._fresh = [np.concatenate(self._fresh)]
        saved = index < len(self._saved)
        if saved.all():
            return np.asarray(self._saved[index])
        if not saved.any():
            return self._fresh[0][index - len(self._saved)]
        found = np.empty((len(index), self.size), np.float16)
        found[saved] = self._saved[index[saved]]
        found[~saved] = self._fresh[0][index[~saved] - len(self._saved)]
        return found

    def saved(self) -> HalfRows:
        """Append the new rows to the file, in the place of any that do not count; returns all, mapped."""
        assert self.path is not None
        with self.path.open("r+b") as stream:
            stream.truncate(self._saved.nbytes)
            stream.seek(0, os.SEEK_END)
            _write(stream, self._fresh)
        return HalfRows(self.size, self.path, self._length)

    def copied(self, path: Path, index: Int64[np.ndarray, " n"]) -> HalfRows:
        """Write the rows of these numbers into a new file, in this order; returns them, mapped."""
        parts = (index[start : start + PART] for start in range(0, len(index), PART))
        with replacing(path) as temporary, temporary.open("wb") as stream:
            _write(stream, (self.take(part) for part in parts))
        return HalfRows(self.size, path, len(index))


def _write(stream: IO[bytes], parts: Iterable[Float16[np.ndarray, "n D"]]) -> None:
    for part in parts:
        stream.write(np.ascontiguousarray(part).tobytes())
    stream.flush()
    os.fsync(stream.fileno())
