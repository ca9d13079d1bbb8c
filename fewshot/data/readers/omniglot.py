"""Omniglot as distributed: 1623 characters of 50 alphabets, each drawn by 20 people."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from fewshot.core.errors import InputError
from fewshot.data.labelled import SPLITS
from fewshot.data.readers.archives import Archive, open_archive
from fewshot.data.readers.benchmark import read_benchmark
from fewshot.data.readers.images import View
from fewshot.data.readers.source import Source, SourceClass

PARTS = ("images_background", "images_evaluation")
SIDE = 28


def omniglot(path: Path) -> Source:
    """The split of Vinyals et al., NeurIPS 2016; each rotation of a character by 90 degrees is a class.

    Images are white on black, like the glyphs, at 28 x 28 unless another size is given.

    Args:
        path: a folder that holds ``images_background`` and ``images_evaluation``, as folders or as the
            distributed .zip files, at its top or one level below; or one archive of both folders.

    Raises:
        InputError: a part or a character is missing.
    """
    return _source(path, "omniglot")


def omniglot_upright(path: Path) -> Source:
    """As :func:`omniglot`, without the rotated characters."""
    return _source(path, "omniglot-upright")


def omniglot_lake(path: Path) -> Source:
    """As :func:`omniglot_upright`, in the split of Lake et al., Science 2015, without validation classes."""
    return _source(path, "omniglot-lake")


def _source(path: Path, name: str) -> Source:
    archives = _parts(path)
    images: dict[str, list[tuple[int, str]]] = {}  # for each character: which part, and the file in it
    for part, archive in enumerate(archives):
        for file in archive.listing().files:
            place = PurePosixPath(file)
            if place.suffix == ".png" and len(place.parts) >= 3:
                images.setdefault("/".join(place.parts[-3:-1]), []).append((part, file))
    expected = read_benchmark(name).classes
    wanted = {_upright(entry)[0] for split in SPLITS for entry in expected[split]}
    if missing := sorted(wanted - set(images)):
        raise InputError(
            f"{path}: character {missing[0]} has no image ({len(missing)} of {len(wanted)} have none)"
        )
    splits = {split: [_class(entry, images) for entry in expected[split]] for split in SPLITS}
    return Source(name, str(path), splits, lambda keys: _read(archives, keys), SIDE)


def _parts(path: Path) -> list[Archive]:
    """The archives that hold the two parts: the one at the path, or .zip files in that folder."""
    archive = open_archive(path)
    content = archive.listing()
    folders = {folder.rpartition("/")[2] for folder in content.folders}
    found: list[Archive] = []
    for part in PARTS:
        zipped = [name for name in content.files if name.rpartition("/")[2] == f"{part}.zip"]
        if part in folders:
            found.append(archive)
        elif zipped and archive.path.is_dir():
            found.append(open_archive(archive.path / zipped[0]))
        else:
            raise InputError(
                f"{path}: expected {' and '.join(PARTS)}, folders or .zip files, found no {part}"
            )
    return list({part.path: part for part in found}.values())


def _class(name: str, images: dict[str, list[tuple[int, str]]]) -> SourceClass:
    character, degrees = _upright(name)
    alphabet = name.split("/")[0]
    keys = tuple(
        f"{part}#{degrees}#{file}" for part, file in sorted(images[character], key=lambda found: found[1])
    )
    return SourceClass(name, name, keys, alphabet, name)


def _upright(name: str) -> tuple[str, int]:
    """A class's character, and by how many degrees it is rotated.

    >>> _upright("Greek/character01/rot090"), _upright("Greek/character01")
    (('Greek/character01', 90), ('Greek/character01', 0))
    """
    character, _, degrees = name.partition("/rot")
    return character, int(degrees or 0)


def _read(archives: list[Archive], keys: Collection[str]) -> Iterator[tuple[str, View]]:
    """Read each file once, for all its rotations."""
    wanted: list[dict[str, list[str]]] = [{} for _ in archives]
    for key in keys:
        part, degrees, file = key.split("#", 2)
        wanted[int(part)].setdefault(file, []).append(degrees)
    for index, archive in enumerate(archives):
        for file, content in archive.read(wanted[index]):
            for degrees in wanted[index][file]:
                yield f"{index}#{degrees}#{file}", View(content, turns=int(degrees) // 90, inverted=True)
