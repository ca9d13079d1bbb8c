"""CUB-200-2011 as distributed: photographs of birds with a box around each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fewshot.core.errors import InputError
from fewshot.data.labelled import SPLITS
from fewshot.data.readers.archives import Archive, base_of, open_archive
from fewshot.data.readers.benchmark import read_benchmark
from fewshot.data.readers.images import View
from fewshot.data.readers.source import Source, SourceClass

T = TypeVar("T")
Box = tuple[float, float, float, float]
TABLES = ("images.txt", "classes.txt", "image_class_labels.txt", "bounding_boxes.txt")


def cub(path: Path) -> Source:
    """Welinder et al., 2010, in the split of Chen et al., ICLR 2019: every second class is for training.

    Args:
        path: ``CUB_200_2011.tgz``, the folder in it, or a folder around that: ``images/``, ``images.txt``,
            ``image_class_labels.txt``, ``classes.txt``, and ``bounding_boxes.txt`` for :func:`cub_cropped`.

    Raises:
        InputError: a file or an image is missing, a line cannot be read, or a class has no images.
    """
    layout = _opened(path)
    return Source("cub", str(path), _splits(layout), layout.archive.read)


def cub_cropped(path: Path) -> Source:
    """As :func:`cub`, with each image cropped to its bird's box."""
    layout = _opened(path)
    splits = _splits(layout)
    images = _table(layout, "images.txt", lambda words: layout.base + "images/" + words[0])
    numbered = _table(layout, "bounding_boxes.txt", _box)
    boxes = {images[number]: box for number, box in numbered.items() if number in images}
    keys = [key for split in SPLITS for entry in splits[split] for key in entry.images]
    if missing := [key for key in keys if key not in boxes]:
        raise InputError(f"{path}: {missing[0]} has no box in bounding_boxes.txt")

    def read(keys: Collection[str]) -> Iterator[tuple[str, View]]:
        return ((key, View(content, box=boxes[key])) for key, content in layout.archive.read(keys))

    return Source("cub-cropped", str(path), splits, read)


@dataclass(frozen=True)
class _Layout:
    """An archive, the folder in it with its slash, all its files, and the content of its tables."""

    archive: Archive
    base: str
    files: set[str]
    tables: dict[str, bytes]


def _opened(path: Path) -> _Layout:
    archive = open_archive(path)
    files = set(archive.listing().files)
    base = base_of(files, "images.txt")
    if base is None:
        raise InputError(f"{path}: expected CUB_200_2011 with images/ and images.txt, found no images.txt")
    # All at once, since each access to a .tgz reads it from the start.
    return _Layout(archive, base, files, dict(archive.read({base + name for name in TABLES} & files)))


def _splits(layout: _Layout) -> dict[str, list[SourceClass]]:
    path = layout.archive.path
    names = _table(layout, "images.txt", lambda words: words[0])
    classes = _table(layout, "classes.txt", lambda words: words[0])
    labels = _table(layout, "image_class_labels.txt", lambda words: classes[words[0]])
    if set(names) != set(labels):
        raise InputError(
            f"{path}: expected a label for each of {len(names)} images, "
            f"image_class_labels.txt has {len(labels)}"
        )
    images: dict[str, list[str]] = {}
    for number, name in names.items():
        if (key := f"{layout.base}images/{name}") not in layout.files:
            raise InputError(f"{path}: images.txt lists {name}, which is not in images/")
        images.setdefault(labels[number], []).append(key)
    expected = read_benchmark("cub").classes
    if missing := [name for split in SPLITS for name in expected[split] if name not in images]:
        raise InputError(f"{path}: class {missing[0]} has no image ({len(missing)} of 200 classes have none)")
    return {
        split: [
            SourceClass(name, name.partition(".")[2].replace("_", " "), tuple(sorted(images[name])))
            for name in expected[split]
        ]
        for split in SPLITS
    }


def _table(layout: _Layout, name: str, read: Callable[[list[str]], T]) -> dict[str, T]:
    """A table's lines, by the number that each starts with."""
    path, content = layout.archive.path, layout.tables.get(layout.base + name)
    if content is None:
        raise InputError(f"{path}: expected {layout.base}{name}, found none")
    table: dict[str, T] = {}
    for index, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        if words := line.split():
            try:
                table[words[0]] = read(words[1:])
            except (IndexError, KeyError, ValueError):
                raise InputError(f"{path}: {name} line {index} cannot be read: '{line[:60]}'") from None
    return table


def _box(words: list[str]) -> Box:
    left, top, width, height = map(float, words)
    return left, top, left + width, top + height
