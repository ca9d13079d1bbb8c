"""Sources: the classes and files of a data set. Nothing is decoded here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from fewshot.data.readers.images import Content

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"})


@dataclass(frozen=True)
class SourceClass:
    """One class of a source: identifier, name, keys of its images, superclass and taxonomy."""

    id: str
    name: str
    images: tuple[str, ...]
    superclass: str | None = None
    taxonomy: str | None = None


@dataclass(frozen=True)
class Source:
    """A data set before it is packed.

    Args:
        name: of the pack.
        where: the file or folder, for messages.
        splits: the classes of ``train``, ``val`` and ``test``.
        read: yields the images of some keys in any order, in a form that `decode` takes (see
            `fewshot.data.readers.images`).
        size: side in pixels at which the set is used by default; None for the images' own.
    """

    name: str
    where: str
    splits: dict[str, list[SourceClass]]
    read: Callable[[Collection[str]], Iterator[tuple[str, Content]]]
    size: int | None = None
