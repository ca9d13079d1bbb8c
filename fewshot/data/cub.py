"""CUB-200-2011 as distributed: photographs of birds with a box around each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TypeVar

from fewshot.data.archives import Archive, base_of, open_archive
from fewshot.data.benchmark import read_benchmark
from fewshot.data.images import View
from fewshot.data.labelled import SPLITS
from fewshot.data.sources import Source, SourceClass
from fewshot.errors import InputError

T = TypeVar("T")
Box = tuple[float, float, float, float]


def cub(path: Path) -> Source:
    """Welinder et al., 2010, in the split of Chen et al., ICLR 2019: every second class trains.

    Args:
        path: ``CUB_200_2011.tgz``, the folder in it, or the one around that: ``images/``, ``images.txt``,
            ``image_class_labels.txt``, ``classes.txt``, and ``bounding_boxes.txt`` for :func:`cub_cropped`.

    Raises:
        InputError: a file or an image is missing, a line that cannot be read, a class without images.
    """
    archive, base = _opened(path)
    return Source("cub", str(path), _splits(archive, base), archive.read)


def cub_cropped(path: Path) -> Source:
    """As :func:`cub`, each image cut to its bird's box."""
    archive, base = _opened(path)
    names = _table(archive, base, "images.txt", lambda words: words[0])
    boxes = {
        f"{base}images/{names[number]}": box
        for number, box in _table(archive, base, "bounding_boxes.txt", _box).items()
        if number in names
    }
    splits = _splits(archive, base)
    if missing := [
        key for split in SPLITS for entry in splits[split] for key in entry.images if key not in boxes
    ]:
        raise InputError(f"{path}: {missing[0]} has no box in bounding_boxes.txt")

    def read(keys: Collection[str]) -> Iterator[tuple[str, View]]:
        return ((key, View(content, box=boxes[key])) for key, content in archive.read(keys))

    return Source("cub-cropped", str(path), splits, read)


def _opened(path: Path) -> tuple[Archive, str]:
    archive = open_archive(path)
    base = base_of(archive.listing().files, "images.txt")
    if base is None:
        raise InputError(f"{path}: expected CUB_200_2011 with images/ and images.txt, found no images.txt")
    return archive, base


def _splits(archive: Archive, base: str) -> dict[str, list[SourceClass]]:
    path = archive.path
    names = _table(archive, base, "images.txt", lambda words: words[0])
    classes = _table(archive, base, "classes.txt", lambda words: words[0])
    labels = _table(archive, base, "image_class_labels.txt", lambda words: classes[words[0]])
    if set(names) != set(labels):
        raise InputError(
            f"{path}: expected a label for each of {len(names)} images, "
            f"image_class_labels.txt has {len(labels)}"
        )
    files = set(archive.listing().files)
    images: dict[str, list[str]] = {}
    for number, name in names.items():
        if (key := f"{base}images/{name}") not in files:
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


def _table(archive: Archive, base: str, name: str, read: Callable[[list[str]], T]) -> dict[str, T]:
    """A file's lines by the number that each begins with."""
    content = dict(archive.read([base + name])).get(base + name)
    if content is None:
        raise InputError(f"{archive.path}: expected {base}{name}, found none")
    table: dict[str, T] = {}
    for index, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        if words := line.split():
            try:
                table[words[0]] = read(words[1:])
            except (IndexError, KeyError, ValueError):
                raise InputError(
                    f"{archive.path}: {name} line {index} cannot be read: '{line[:60]}'"
                ) from None
    return table


def _box(words: list[str]) -> Box:
    left, top, width, height = map(float, words)
    return left, top, left + width, top + height
