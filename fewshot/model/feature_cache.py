"""Features of image files, kept from one call to the next: by the files' content and the model."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fewshot.core.files import cache_folder
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.precision import resolve

FILE = "features.sqlite"
MOST = 2**29  # bytes of features that are kept: 512 MiB
WAIT = 1.0  # seconds that a process waits for another one to finish writing
SLOW = 5.0  # seconds after which it is not waited for the database any more
LARGEST = 2**20  # bytes of a value
SEAL = 8  # bytes of a value's hash
FIND = "SELECT value FROM features WHERE key = ? AND TYPEOF(value) = 'blob' AND LENGTH(value) <= ?"
TABLE = "CREATE TABLE IF NOT EXISTS features (key BLOB PRIMARY KEY, used REAL, value BLOB) WITHOUT ROWID"


class FeatureCache:
    """Features by the content of image files, of one model, in a file of the cache folder.

    Several processes may use it at once. It holds at most ``most`` bytes, of which those used last are kept.
    If it cannot be read or written (a full disk, a folder without rights, a damaged file), nothing is found
    and nothing kept. Each value carries a hash of itself, so that what was changed is not found.

    Args:
        model: whose features they are; one with other weights or another input finds others.
        folder: default the cache folder: the environment's ``FEWSHOT_CACHE``, or the user's.
        most: bytes.

    >>> import tempfile
    >>> from fewshot import ClassGraph, backbones
    >>> cache = FeatureCache(GraphFewShot(backbones.conv4(width=8), ClassGraph()), tempfile.mkdtemp())
    >>> cache.put([b"image"], torch.tensor([[1.0, 2.0]]))
    >>> cache.get([b"image", b"other"])
    {0: tensor([1., 2.])}
    """

    def __init__(self, model: GraphFewShot, folder: str | Path | None = None, most: int = MOST) -> None:
        self.file = cache_folder(folder) / FILE
        self.most = most
        self._model = fingerprint(model)
        self._failed = False

    def get(self, contents: Sequence[bytes]) -> dict[int, Float[Tensor, " D"]]:
        """The features that are there, by the position of the content."""
        found: dict[int, Tensor] = {}
        with self._open() as base:
            if base is None:
                return {}
            for place, key in enumerate(map(self._key, contents)):
                row = base.execute(FIND, (key, LARGEST)).fetchone()
                if row is not None and row[0] == self._sealed(row[0][SEAL:]):
                    base.execute("UPDATE features SET used = ? WHERE key = ?", (time.time(), key))
                    found[place] = torch.from_numpy(np.frombuffer(row[0][SEAL:], np.float32).copy())
        return found

    def put(self, contents: Sequence[bytes], features: Float[Tensor, "n D"]) -> None:
        """Keep features, and drop those used longest ago if there are too many."""
        values = [self._sealed(row.tobytes()) for row in features.float().cpu().numpy()]
        rows = [(self._key(c), time.time(), value) for c, value in zip(contents, values, strict=True)]
        with self._open() as base:
            if base is None:
                return
            base.executemany("INSERT OR REPLACE INTO features VALUES (?, ?, ?)", rows)
            kept, count = base.execute("SELECT TOTAL(LENGTH(value)), COUNT(*) FROM features").fetchone()
            if kept > self.most:  # down to nine tenths, so that not every call has to
                drop = int(count * (1 - 0.9 * self.most / kept)) + 1
                base.execute(
                    "DELETE FROM features WHERE key IN (SELECT key FROM features ORDER BY used LIMIT ?)",
                    (drop,),
                )

    def _key(self, content: bytes) -> bytes:
        return hashlib.blake2b(content, digest_size=16, key=self._model).digest()

    def _sealed(self, value: bytes) -> bytes:
        """A value after its hash."""
        return hashlib.blake2b(value, digest_size=SEAL, key=self._model).digest() + value

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection | None]:
        """The database within one transaction, which has no effect if it fails; None if there is none."""
        if self._failed:
            yield None
            return
        end = time.monotonic() + SLOW
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            base = sqlite3.connect(self.file, timeout=WAIT)
            base.set_progress_handler(lambda: time.monotonic() > end, 10_000)
            base.execute(TABLE)
        except (sqlite3.Error, OSError):
            self._failed = True
            yield None
            return
        try:
            with closing(base), base:
                yield base
        except sqlite3.Error:
            self._failed = True


def fingerprint(model: GraphFewShot) -> bytes:
    """A hash of everything that a model's features depend on."""
    digest = hashlib.blake2b(digest_size=32)
    backbone = getattr(model.backbone, "config", None)
    precision = resolve(model.precision, model.device)
    about = (2, backbone, model.preprocess.config, model.mirror, precision, torch.__version__)
    digest.update(repr(about).encode())
    for name, value in (*model.backbone.state_dict().items(), ("base_mean", model.base_mean)):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.digest()
