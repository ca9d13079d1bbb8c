"""A gallery of very many classes: their supports in half precision, and the classes nearest to a query."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.core.files import replacing, write_array, write_text
from fewshot.core.untrusted.arrays import read_npy
from fewshot.core.untrusted.documents import read_json
from fewshot.core.untrusted.guard import cause
from fewshot.graph.half_rows import HalfRows
from fewshot.graph.nearest import MANY, InvertedIndex, Nearest, exact, faiss
from fewshot.graph.vectors import normalize

FORMAT = 1
HEADER, LISTS = "gallery.json", "lists.npy"
LARGEST = 2**30  # bytes of a header: some ten million classes


class Gallery:
    """Classes by their supports, in half precision, in memory or mapped from a file.

    Classes are added and removed without touching the others: a class that is removed leaves its rows
    behind, one that gets further supports is written again as a whole. `save` appends what is new to the
    file of vectors and then replaces the header in one step; a process that is killed leaves the gallery as
    it was saved last. One process may write at a time, any number may read.

    Each class has an index, which stays the same as long as the object lives. `nearest` finds the classes
    whose prototype, the normalised sum of the supports, has the largest cosine. With more than 10,000
    classes it uses an inverted index if FAISS is installed (extra ``large``) and the index finds the classes;
    else exact search, some classes at a time. The index follows what is added and removed, and is made again
    once there are twice as many classes. Of it only the centres of its lists are saved, an array of plain
    numbers: whoever opens the gallery makes the index again without k-means, at the first search.

    Args:
        size: D, the number of features.

    Attributes:
        labels: of each class by its index; None for a class that was removed.

    >>> gallery = Gallery(3)
    >>> gallery.add(torch.eye(3), ["ant", "bee", "crow"])
    >>> gallery.remove(["bee"])
    >>> [gallery.labels[i] for i in gallery.nearest(torch.tensor([[0.0, 1.0, 2.0]]), 2).classes[0]]
    ['crow', 'ant']
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.labels: list[Any] = []
        self._start, self._count = np.zeros(0, np.int64), np.zeros(0, np.int64)  # rows of each class
        self._rows = HalfRows(size)
        self._places: dict[Any, int] = {}
        self._index: InvertedIndex | None = None
        self._centres: Float32[np.ndarray, "L D"] | None = None  # of its lists
        self._tried = 0  # classes when an index was last made, or found not to be useful

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, label: Hashable) -> bool:
        return label in self._places

    def __repr__(self) -> str:
        return f"Gallery({len(self):,} classes, {self._count.sum():,} supports, D = {self.size})"

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_index": None, "_tried": 0}  # the index is made again

    @property
    def shots(self) -> int:
        """The most supports of a class."""
        return int(self._count.max(initial=1))

    @property
    def recall(self) -> float | None:
        """The measured recall of the inverted index, from 0 to 1; None with exact search."""
        return None if self._index is None else self._index.recall

    def indices(self) -> Int64[Tensor, " N"]:
        """The index of each class."""
        return torch.from_numpy(np.flatnonzero(self._count))

    def add(self, features: Float[Tensor, "n D"], labels: Sequence[Any]) -> None:
        """Add supports of new classes, or further supports of classes that are there.

        Args:
            features: **[n, D]**, as the graph takes them; only their directions are kept.
            labels: n texts or numbers.

        Raises:
            InputError: not as many labels as features, or features of another size.
        """
        if features.dim() != 2 or features.shape[1] != self.size:
            raise InputError(f"features: expected floats [n, {self.size}], got {list(features.shape)}")
        if len(labels) != len(features):
            raise InputError(f"labels: expected {len(features)}, one per row of features, got {len(labels)}")
        names = list(dict.fromkeys(labels))
        old = [label for label in names if label in self]
        rows = normalize(features.detach().cpu().float()).numpy().astype(np.float16)
        if old:  # these are written again as a whole
            kept = torch.tensor([self._places[label] for label in old])
            supports, mask = self.supports(kept)
            rows = np.concatenate([supports[mask].numpy().astype(np.float16), rows])
            labels = [*np.repeat(np.array(old, object), mask.sum(1).numpy()), *labels]
            self._forget(kept)
        order = {label: place for place, label in enumerate(names)}
        of = np.array([order[label] for label in labels], np.int64)
        start = self._rows.append(rows[np.argsort(of, kind="stable")])
        places = self._reserve(names)
        count = np.bincount(of, minlength=len(names))
        self._count[places], self._start[places] = count, start + np.cumsum(count) - count
        if self._index is not None:
            index = torch.from_numpy(places)
            self._index.add(index, self.prototypes(index))

    def remove(self, labels: Iterable[Any]) -> None:
        """Remove classes.

        Raises:
            InputError: a label that is not in the gallery; then nothing is removed.
        """
        labels = list(dict.fromkeys(labels))
        if missing := [label for label in labels if label not in self]:
            raise InputError(f"labels: expected classes of the gallery, got {missing[0]!r:.60}")
        places = [self._places.pop(label) for label in labels]
        for place in places:
            self.labels[place] = None
        self._forget(torch.tensor(places, dtype=torch.int64))

    def _reserve(self, names: Iterable[Any]) -> Int64[np.ndarray, " c"]:
        """The index of each label; a new one if it has none."""
        for label in names:
            if label not in self._places:
                self._places[label] = len(self.labels)
                self.labels.append(label)
        more = np.zeros(len(self.labels) - len(self._count), np.int64)
        self._start, self._count = np.append(self._start, more), np.append(self._count, more)
        return np.array([self._places[label] for label in names], np.int64)

    def _forget(self, index: Int64[Tensor, " c"]) -> None:
        self._count[index.numpy()] = 0
        if self._index is not None:
            self._index.remove(index)

    def supports(
        self, index: Int64[Tensor, "*batch"]
    ) -> tuple[Float[Tensor, "*batch K D"], Bool[Tensor, "*batch K"]]:
        """The supports of classes, padded to the most shots, and the mask of actual ones; -1 has none."""
        places = index.numpy()
        count = np.where(places < 0, 0, self._count[places])
        shot = np.arange(count.max(initial=1))
        mask = shot < count[..., None]
        rows = np.where(mask, self._start[places][..., None] + shot, 0)
        found = torch.from_numpy(self._rows.take(rows.ravel())).float()
        if not found.sum().isfinite():  # of normalised vectors; a file may hold others
            raise InputError(f"{self._rows.path}: expected finite vectors, got nan or infinity")
        return found.view(*rows.shape, self.size), torch.from_numpy(mask)

    def prototypes(self, index: Int64[Tensor, " c"]) -> Float[Tensor, "c D"]:
        """The normalised sum of the supports of each class."""
        supports, mask = self.supports(index)
        return normalize((supports * mask[..., None]).sum(1))

    def nearest(self, query: Float[Tensor, "M D"], k: int) -> Nearest:
        """The k classes nearest to each query, by cosine.

        Args:
            query: **[M, D]**, of any length.
            k: how many.

        Raises:
            InputError: queries of another size, or k below 1.
        """
        if query.dim() != 2 or query.shape[1] != self.size:
            raise InputError(f"query: expected floats [M, {self.size}], got {list(query.shape)}")
        if k < 1:
            raise InputError(f"k: expected at least 1 class, got {k}")
        query = normalize(query.detach().cpu().float())
        if len(self) > max(MANY, 2 * self._tried):  # the lists suit the classes of which they were made
            self._tried = len(self)
            self._make_index()
        if self._index is not None:
            return self._index.search(query, k)
        return exact(query, self.prototypes, self.indices(), k)

    def _make_index(self) -> None:
        """An inverted index, with the lists that are known if they are not too few."""
        library, known = faiss(), self._centres
        if library is None:
            return
        if known is not None and len(self) > 2 * (len(known) / 4) ** 2:
            known = None
        index = InvertedIndex(library, self.prototypes, self.indices(), known)
        if known is not None and not index.useful:
            index = InvertedIndex(library, self.prototypes, self.indices())
        self._index, self._centres = (index, index.centres) if index.useful else (None, None)

    def save(self, folder: str | Path | None = None) -> None:
        """Write what changed; into another folder all classes, and the gallery then belongs there.

        Args:
            folder: default None: where it was opened or saved last.

        Raises:
            InputError: no folder is known, or nothing can be written there; labels that JSON does not have.
        """
        path = self._rows.path
        if folder is None and path is None:
            raise InputError("folder: expected one, as this gallery was never saved, got None")
        if any(type(label) not in (str, int, type(None)) for label in self.labels):
            raise InputError("labels: expected texts or whole numbers only, to be saved")
        home = Path(folder) if folder is not None else path.parent  # type: ignore[union-attr]
        if path is None or path.parent != home or 2 * self._count.sum() < len(self._rows):
            self._pack(home)
        else:
            self._rows = self._rows.saved()
        if self._centres is None:
            (home / LISTS).unlink(missing_ok=True)
        else:
            write_array(home / LISTS, self._centres)
        header = {"format": FORMAT, "size": self.size, "rows": len(self._rows), "labels": self.labels}
        header |= {"start": self._start.tolist(), "count": self._count.tolist()}
        with replacing(home / HEADER) as temporary:
            content = {**header, "vectors": self._rows.path.name}  # type: ignore[union-attr]
            write_text(temporary, json.dumps(content, ensure_ascii=False))
        for other in home.glob("vectors-*.f16"):
            if other != self._rows.path:
                other.unlink()

    def _pack(self, home: Path) -> None:
        """All classes into a new file, without the rows that are no class's any more."""
        live = np.flatnonzero(self._count)
        count = self._count[live]
        begin = np.cumsum(count) - count
        rows = np.repeat(self._start[live] - begin, count) + np.arange(count.sum())
        number = 1 + max((int(p.stem.split("-")[1]) for p in home.glob("vectors-*.f16")), default=0)
        self._rows = self._rows.copied(home / f"vectors-{number}.f16", rows)
        self._start = np.zeros_like(self._start)
        self._start[live] = begin

    def _lists(self, file: Path) -> Float32[np.ndarray, "L D"] | None:
        """The centres of the index's lists that were saved."""
        if not file.exists():
            return None
        found = read_npy(file)
        whole = found.ndim == 2 and found.shape[1] == self.size and found.dtype == np.float32
        if not (whole and 0 < len(found) <= 1 + 4 * len(self._start) and np.isfinite(found).all()):
            raise ValueError("an index of other classes")
        return found

    @classmethod
    def open(cls, folder: str | Path) -> Gallery:
        """The gallery that was saved in a folder; its vectors are mapped, not read.

        Raises:
            InputError: there is none, or it is damaged.
        """
        folder = Path(folder)
        try:
            header = read_json(folder / HEADER, "the header of a gallery", LARGEST)
            _check_header(header)
            gallery = cls(header["size"])
            gallery._rows = HalfRows(gallery.size, folder / Path(header["vectors"]).name, header["rows"])
            gallery._start, gallery._count = (np.array(header[key], np.int64) for key in ("start", "count"))
            gallery.labels = header["labels"]
            gallery._centres = gallery._lists(folder / LISTS)
            gallery._places = {x: place for place, x in enumerate(gallery.labels) if x is not None}
        except (InputError, OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{folder}: expected a gallery of classes ({cause(error)})") from error
        return gallery


def _check_header(header: Any) -> None:
    """Raise a ValueError unless these are labels, each with rows that there are, of a gallery."""
    size, rows, labels = (header[key] for key in ("size", "rows", "labels"))
    numbers = [size, rows, *header["start"], *header["count"]]
    if not all(type(number) is int and 0 <= number < 2**48 for number in numbers) or not size:
        raise ValueError("numbers out of range")
    kinds = {type(label) for label in labels}
    used = [label for label in labels if label is not None]
    if not isinstance(labels, list) or not kinds <= {str, int, type(None)} or len(set(used)) < len(used):
        raise ValueError("labels that are no texts or numbers, or not distinct")
    spans = list(zip(labels, header["start"], header["count"], strict=True))
    if any(start + count > rows or (label is None) != (count == 0) for label, start, count in spans):
        raise ValueError("classes without rows")
    if header["format"] != FORMAT:
        raise ValueError("another format")
