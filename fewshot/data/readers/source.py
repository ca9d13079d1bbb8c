"""Sources: which classes and files each kind of data set has. Nothing is decoded here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from fewshot.data.readers.images import Content

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"})


@dataclass(frozen=True)
class SourceClass:
    """One class of a source: its identifier, its name, the keys of its images, and what it belongs to.

    `path` is the path for relations if it is not the taxonomy.
    """

    id: str
    name: str
    images: tuple[str, ...]
    superclass: str | None = None
    taxonomy: str | None = None
    path: str | None = None


@dataclass(frozen=True)
class Source:
    """A data set before it is packed.

    Args:
        name: what the pack will be called.
        where: the file or folder, for messages.
        splits: the classes of ``train``, ``val`` and ``test``.
        read: gives the images of some keys in any order, each as `decode` (see
            `fewshot.data.readers.images`) takes it.
        size: side in pixels that the set is used at, unless another is asked for; None for the images' own.
    """

    name: str
    where: str
    splits: dict[str, list[SourceClass]]
    read: Callable[[Collection[str]], Iterator[tuple[str, Content]]]
    size: int | None = None
