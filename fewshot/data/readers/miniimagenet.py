"""miniImageNet in the forms that circulate: Ravi's tables with images, pickles, ImageNet's own folders."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from fewshot.core.errors import InputError
from fewshot.data.labelled import SPLITS
from fewshot.data.readers.archives import Archive, base_of, open_archive
from fewshot.data.readers.benchmark import read_benchmark
from fewshot.data.readers.pickled import (
    indexes_by_label,
    load_pickle,
    read_rows,
    row_keys,
    text,
    whole_numbers,
)
from fewshot.data.readers.source import Source, SourceClass
from fewshot.data.readers.wnids import images_by_wnid

CACHE = {split: f"mini-imagenet-cache-{split}.pkl" for split in SPLITS}
CATEGORIES = {
    "train": "miniImageNet_category_split_train_phase_train.pickle",
    "val": "miniImageNet_category_split_val.pickle",
    "test": "miniImageNet_category_split_test.pickle",
}
TABLES = {split: f"{split}.csv" for split in SPLITS}
EACH = 600  # images per class

Table = list[tuple[str, str]]  # file names and labels
Groups = tuple[np.ndarray, dict[str, list[int]]]  # images, and each class's rows


def miniimagenet(path: Path) -> Source:
    """Open whichever of these is at the path or one folder below:

    - ``images/`` and Ravi's ``train.csv``, ``val.csv``, ``test.csv`` (header ``filename,label``), with an
      optional ``classes.csv`` (``wnid,name,superclass,split,path``) that names the classes
    - ``mini-imagenet-cache-{train,val,test}.pkl``: dicts of ``image_data`` and ``class_dict``
    - ``miniImageNet_category_split_{train_phase_train,val,test}.pickle``: dicts of ``data`` and ``labels``
    - ImageNet's training images, one folder per wnid, with Ravi's tables next to them, which choose the
      images; or without tables, for the first 600 images of each class. These are not the images of most
      papers, and the pack is named accordingly: ``miniimagenet-first-600``.

    Raises:
        InputError: none of these; a file is missing, incomplete or would run code; a row has no image; an
            image or a class is listed twice.
    """
    archive = open_archive(path)
    content = archive.listing()
    files = set(content.files)
    for names, read in ((CACHE, _cached), (CATEGORIES, _by_category)):
        base = base_of(files, names["train"])
        if base is not None:
            return _pickled(archive, {s: base + names[s] for s in SPLITS}, files, read)
    base = base_of(files, TABLES["train"])
    if base is not None and (f"{base}images" in content.folders or not _has_wnids(content.folders)):
        return _by_table(archive, base, files)
    if _has_wnids(content.folders):
        return _by_wnid(archive, base, files)
    if any(re.search(r"n\d{8}\.tar$", file) for file in files):
        raise InputError(f"{path}: expected ImageNet's folders by wnid, got one .tar per class: unpack them")
    raise InputError(
        f"{path}: expected train.csv, val.csv, test.csv and images/, or mini-imagenet-cache-*.pkl, or "
        "miniImageNet_category_split_*.pickle, or ImageNet's folders by wnid, found no train.csv"
    )


def _by_table(archive: Archive, base: str, files: set[str]) -> Source:
    tables, rows = _tables(archive, base, files)
    path = archive.path
    described = {row["wnid"]: row for row in _rows(tables, base + "classes.csv", path, ("wnid",))}
    for split in SPLITS:
        for name, _ in rows[split]:
            if f"{base}images/{name}" not in files:
                raise InputError(f"{path}: {split}.csv lists {name}, which is not in images/")
    splits = {
        split: [
            _described(label, [f"{base}images/{name}" for name in names], described)
            for label, names in sorted(_grouped(rows[split]).items())
        ]
        for split in SPLITS
    }
    home = {entry.id for classes in splits.values() for entry in classes}
    if unused := sorted(set(described) - home):
        raise InputError(f"{path}: class {unused[0]} of classes.csv has no image in train, val or test.csv")
    return Source("miniimagenet", str(path), splits, archive.read)


def _by_wnid(archive: Archive, base: str | None, files: set[str]) -> Source:
    """Ravi's names end in the rank of an image, from 1, among its class's images sorted by number."""
    classes = read_benchmark("miniimagenet").classes
    images = {
        wnid: sorted(found, key=_number)
        for wnid, found in images_by_wnid(
            archive.path, files, [w for s in SPLITS for w in classes[s]]
        ).items()
    }
    if base is None:
        chosen = {s: {wnid: images[wnid][:EACH] for wnid in classes[s]} for s in SPLITS}
    else:
        rows = _tables(archive, base, files)[1]
        chosen = {
            s: {
                wnid: [_placed(archive.path, name, images.get(wnid, [])) for name in names]
                for wnid, names in sorted(_grouped(rows[s]).items())
            }
            for s in SPLITS
        }
    splits = {s: [SourceClass(wnid, wnid, tuple(sorted(k))) for wnid, k in chosen[s].items()] for s in SPLITS}
    name = "miniimagenet-first-600" if base is None else "miniimagenet"
    return Source(name, str(archive.path), splits, archive.read)


def _placed(path: Path, name: str, images: list[str]) -> str:
    found = re.search(r"(\d{8})\.\w+$", name)
    if found is None or not 1 <= int(found[1]) <= len(images):
        raise InputError(f"{path}: {name} is listed, but its class has {len(images)} images")
    return images[int(found[1]) - 1]


def _number(name: str) -> tuple[int, str]:
    """ImageNet's number of an image: the digits at the end of ``n01532829_1234.JPEG``."""
    found = re.search(r"(\d+)$", PurePosixPath(name).stem)
    return int(found[1]) if found else -1, name


def _has_wnids(folders: frozenset[str]) -> bool:
    return any(re.fullmatch(r"n\d{8}", folder.rpartition("/")[2]) for folder in folders)


def _tables(archive: Archive, base: str, files: set[str]) -> tuple[dict[str, bytes], dict[str, Table]]:
    """The CSV files as they are, and what they list for each split."""
    path = archive.path
    if missing := [name for name in TABLES.values() if base + name not in files]:
        raise InputError(f"{path}: expected train.csv, val.csv, test.csv and images/, found no {missing[0]}")
    tables = dict(archive.read({base + f"{name}.csv" for name in (*SPLITS, "classes")} & files))
    rows: dict[str, Table] = {}
    listed: dict[str, str] = {}
    home: dict[str, str] = {}
    for split in SPLITS:
        rows[split] = []
        for row in _rows(tables, f"{base}{split}.csv", path, ("filename", "label")):
            name, label = row["filename"], row["label"]
            if name in listed:
                raise InputError(f"{path}: {name} is listed twice ({listed[name]}.csv, {split}.csv)")
            if home.setdefault(label, split) != split:
                raise InputError(f"{path}: class {label} is both in {home[label]}.csv and in {split}.csv")
            listed[name] = split
            rows[split].append((name, label))
        if not rows[split]:
            raise InputError(f"{path}: {split}.csv lists no image")
    return tables, rows


def _grouped(rows: Table) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name, label in rows:
        groups.setdefault(label, []).append(name)
    return groups


def _pickled(
    archive: Archive, names: dict[str, str], files: set[str], read: Callable[[dict[str, Any], str], Groups]
) -> Source:
    if missing := [name for name in names.values() if name not in files]:
        raise InputError(f"{archive.path}: found {names['train']}, but no {missing[0]}")
    splits = {}
    home: dict[str, str] = {}
    for split in SPLITS:
        where = f"{archive.path}: {names[split]}"
        content = load_pickle(archive, names[split])
        images, groups = read(content, where)
        rows = [row for indexes in groups.values() for row in indexes]
        if len(rows) != len(images) or set(rows) != set(range(len(images))):
            raise InputError(
                f"{where}: expected each of {len(images)} images in one class, its classes list {len(rows)}"
            )
        for name in groups:
            if home.setdefault(name, split) != split:
                raise InputError(f"{where}: class {name} is in {home[name]} too")
        splits[split] = [
            SourceClass(name, name, row_keys(names[split], groups[name])) for name in sorted(groups)
        ]
        del content, images  # so that the images of only one file are in memory

    def rows_of(file: str) -> np.ndarray:
        return read(load_pickle(archive, file), f"{archive.path}: {file}")[0]

    return Source("miniimagenet", str(archive.path), splits, lambda keys: read_rows(rows_of, keys))


def _cached(content: dict[str, Any], where: str) -> Groups:
    images = _images(content, "image_data", where)
    groups = content.get("class_dict")
    if not isinstance(groups, dict):
        raise InputError(f"{where}: expected class_dict, a dict of each class's rows")
    try:
        rows = {text(name): whole_numbers(rows, where).tolist() for name, rows in groups.items()}
    except InputError:
        raise InputError(f"{where}: class_dict does not list rows") from None
    return images, rows


def _by_category(content: dict[str, Any], where: str) -> Groups:
    """Classes by their names in ``catname2label`` if it exists, else by their labels."""
    images = _images(content, "data", where)
    named = content.get("catname2label")
    names = {}
    if isinstance(named, dict):
        labels = whole_numbers(list(named.values()), f"{where}: catname2label").tolist()
        names = dict(zip(labels, map(text, named), strict=True))
    groups = indexes_by_label(content.get("labels"), f"{where}: labels")
    return images, {names.get(label, str(label)): rows for label, rows in groups.items()}


def _images(content: dict[str, Any], key: str, where: str) -> np.ndarray:
    images = content.get(key)
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[3:] != (3,):
        found = (
            f"{images.dtype} {list(images.shape)}"
            if isinstance(images, np.ndarray)
            else type(images).__name__
        )
        raise InputError(f"{where}: expected {key} as uint8 [n, H, W, 3], got {found}")
    return images


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
