"""Sources: which classes and files each kind of data set has. Nothing is decoded here."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from fewshot.data import glyphs
from fewshot.data.archives import Listing, open_archive
from fewshot.data.labelled import SPLITS
from fewshot.errors import InputError

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
SHARES = {"val": 0.16, "test": 0.20}  # of a pool's classes; the rest trains


@dataclass(frozen=True)
class SourceClass:
    """One class of a source: its identifier, its name, the keys of its images, and what it belongs to."""

    id: str
    name: str
    images: tuple[str, ...]
    superclass: str | None = None
    taxonomy: str | None = None


@dataclass(frozen=True)
class Source:
    """A data set before it is packed.

    Args:
        name: what the pack will be called.
        where: the file or folder, for messages.
        splits: the classes of ``train``, ``val`` and ``test``.
        read: gives the images of some keys in any order, each as an encoded file or as uint8 ``[H, W]``.
    """

    name: str
    where: str
    splits: dict[str, list[SourceClass]]
    read: Callable[[Collection[str]], Iterator[tuple[str, bytes | np.ndarray]]]


def miniimagenet(path: Path) -> Source:
    """Ravi's layout: ``images/``, ``train.csv``, ``val.csv``, ``test.csv`` (header ``filename,label``).

    An optional ``classes.csv`` (``wnid,name,superclass,split,path``) names the classes.

    Raises:
        InputError: a file of the layout or a row's image is missing, an image or a class is listed twice.
    """
    archive = open_archive(path)
    files = set(archive.listing().files)
    base = _base(files, "train.csv")
    missing = [name for name in ("train.csv", "val.csv", "test.csv") if base + name not in files]
    if missing:
        raise InputError(f"{path}: expected train.csv, val.csv, test.csv and images/, found no {missing[0]}")
    tables = dict(archive.read({base + f"{name}.csv" for name in (*SPLITS, "classes")} & files))
    described = {row["wnid"]: row for row in _rows(tables, base + "classes.csv", path, ("wnid",))}
    splits: dict[str, list[SourceClass]] = {}
    listed: dict[str, str] = {}
    home: dict[str, str] = {}
    for split in SPLITS:
        by_class: dict[str, list[str]] = {}
        for row in _rows(tables, f"{base}{split}.csv", path, ("filename", "label")):
            key, label = f"{base}images/{row['filename']}", row["label"]
            if key not in files:
                raise InputError(f"{path}: {split}.csv lists {row['filename']}, which is not in images/")
            if key in listed:
                raise InputError(
                    f"{path}: {row['filename']} is listed twice ({listed[key]}.csv, {split}.csv)"
                )
            if home.setdefault(label, split) != split:
                raise InputError(f"{path}: class {label} is both in {home[label]}.csv and in {split}.csv")
            listed[key] = split
            by_class.setdefault(label, []).append(key)
        if not by_class:
            raise InputError(f"{path}: {split}.csv lists no image")
        splits[split] = [_described(label, by_class[label], described) for label in sorted(by_class)]
    if unused := sorted(set(described) - set(home)):
        raise InputError(f"{path}: class {unused[0]} of classes.csv has no image in train, val or test.csv")
    return Source("miniimagenet", str(path), splits, archive.read)


def folder(path: Path, seed: int = 0) -> Source:
    """A folder a class, below ``train/ val/ test/`` or as one pool whose classes are split by the seed.

    A class is a folder that holds images; folders above it become its superclass and taxonomy. Of a pool's
    classes, 64 % train, 16 % validate and 20 % test. Of ``train/ val/ test/`` any may be absent: that split
    is empty then.

    Raises:
        InputError: no image, an image outside any class, a folder without images, a class in two splits,
            a pool of fewer than 3 classes.
    """
    archive = open_archive(path)
    content = archive.listing()
    images = [name for name in content.files if PurePosixPath(name).suffix.lower() in EXTENSIONS]
    if not images:
        raise InputError(f"{path}: expected images ({', '.join(sorted(EXTENSIONS))}), found none")
    holders = {PurePosixPath(name).parent.as_posix() for name in images}
    if empty := _without_images(content, holders):
        raise InputError(f"{path}: folder {empty[0]} has no image")
    top = _common_top(images)
    by_class: dict[str, list[str]] = {}
    for name in images:
        inner = PurePosixPath(name).relative_to(top)
        if len(inner.parts) < 2:
            raise InputError(f"{path}: {name} is not in a class's folder")
        by_class.setdefault(inner.parent.as_posix(), []).append(name)
    splits = _by_folder(path, by_class) or _by_seed(path, by_class, seed)
    return Source(Path(path).name.split(".")[0], str(path), splits, archive.read)


def built_in_glyphs(seed: int = 0) -> Source:
    """The built-in letters, see :mod:`fewshot.data.glyphs`."""
    letters = glyphs.letters()
    splits = {
        split: [
            SourceClass(letter.id, letter.name, glyphs.keys(letter), letter.script, letter.taxonomy)
            for letter in letters
            if letter.split == split
        ]
        for split in SPLITS
    }
    return Source("glyphs", "glyphs", splits, lambda keys: glyphs.draw(letters, keys, seed))


def _base(files: set[str], name: str) -> str:
    """The folder, at the top or one below, where a file of that name lies, with its slash."""
    below = sorted(file for file in files if file.count("/") == 1 and file.endswith("/" + name))
    return "" if name in files or not below else below[0].removesuffix(name)


def _rows(
    tables: dict[str, bytes], name: str, path: Path, columns: tuple[str, ...]
) -> Iterator[dict[str, str]]:
    """The rows of a CSV table; none if there is no such table."""
    try:
        reader = csv.DictReader(io.StringIO(tables.get(name, b"").decode("utf-8-sig")))
        for row in reader:
            if any(not row.get(column) for column in columns):
                raise InputError(f"{path}: {name} line {reader.line_num}: expected {', '.join(columns)}")
            yield row
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: {name} is not a CSV table ({error})") from None


def _described(label: str, images: list[str], described: dict[str, dict[str, str]]) -> SourceClass:
    row = described.get(label, {})
    return SourceClass(
        label,
        row.get("name") or label,
        tuple(sorted(images)),
        row.get("superclass") or None,
        row.get("path") or None,
    )


def _without_images(content: Listing, holders: set[str]) -> list[str]:
    """Folders with no image in them or below."""
    used = {
        parent.as_posix()
        for name in holders
        for parent in (PurePosixPath(name), *PurePosixPath(name).parents)
    }
    return sorted(content.folders - used)


def _common_top(images: list[str]) -> PurePosixPath:
    """The one folder around everything that archives often have; empty where there is none."""
    tops = {PurePosixPath(name).parts[0] for name in images}
    wrapped = len(tops) == 1 and not tops & set(SPLITS) and all(name.count("/") >= 2 for name in images)
    return PurePosixPath(tops.pop() if wrapped else "")


def _by_folder(path: Path, by_class: dict[str, list[str]]) -> dict[str, list[SourceClass]] | None:
    """The classes of ``train/ val/ test/``; None where the folders are not of that layout."""
    tops = {name.split("/")[0] for name in by_class}
    if strangers := sorted(tops - set(SPLITS)):
        if "train" in tops and len(tops) <= 3 and all("/" in name for name in by_class):
            raise InputError(f"{path}: expected no folder beside train/, val/, test/, got {strangers[0]}/")
        return None
    if any("/" not in name for name in by_class):
        return None
    splits: dict[str, list[SourceClass]] = {split: [] for split in SPLITS}
    for name in sorted(by_class):
        split, _, inner = name.partition("/")
        splits[split].append(_class(inner, by_class[name]))
    counts = Counter(entry.id for classes in splits.values() for entry in classes)
    if twice := sorted(name for name, count in counts.items() if count > 1):
        raise InputError(f"{path}: class {twice[0]} is in more than one of train/, val/, test/")
    return splits


def _by_seed(path: Path, by_class: dict[str, list[str]], seed: int) -> dict[str, list[SourceClass]]:
    names = sorted(by_class)
    if len(names) < 3:
        raise InputError(
            f"{path}: expected at least 3 classes to split into train, val, test, got {len(names)}"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    val, test = (max(1, round(SHARES[split] * len(names))) for split in ("val", "test"))
    parts = {"val": order[:val], "test": order[val : val + test], "train": order[val + test :]}
    return {
        split: [_class(names[index], by_class[names[index]]) for index in sorted(parts[split])]
        for split in SPLITS
    }


def _class(name: str, images: list[str]) -> SourceClass:
    above = name.rpartition("/")[0] or None
    return SourceClass(name, name, tuple(sorted(images)), above, above and name)
