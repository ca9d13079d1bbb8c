"""CIFAR-FS and FC100: two splits of CIFAR-100's classes, its train and test images taken together."""

from __future__ import annotations

from pathlib import Path

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
    texts,
    whole_numbers,
)
from fewshot.data.readers.source import Source, SourceClass

PUBLISHED = "cifar-100-python.tar.gz"
PARTS = ("train", "test")
LABELS = ("fine_labels", "coarse_labels")


def cifar_fs(path: Path) -> Source:
    """Bertinetto et al., ICLR 2019: 64, 16 and 20 classes. Arguments as for :func:`fc100`."""
    return _source(path, "cifar-fs")


def fc100(path: Path) -> Source:
    """Oreshkin et al., NeurIPS 2018: 60, 20 and 20 classes of 12, 4 and 4 superclasses.

    Args:
        path: ``cifar-100-python.tar.gz`` as published, the folder in it, or a folder that holds either.

    Raises:
        InputError: a file is missing, is not a complete pickle or would run code; images and labels do not
            fit; a class has no images.
    """
    return _source(path, "fc100")


def _source(path: Path, name: str) -> Source:
    archive = open_archive(path)
    files = archive.listing().files
    base = base_of(files, "meta")
    if base is None and PUBLISHED in files and archive.path.is_dir():
        archive = open_archive(archive.path / PUBLISHED)
        files = archive.listing().files
        base = base_of(files, "meta")
    if base is None or not {base + part for part in PARTS} <= set(files):
        raise InputError(f"{path}: expected cifar-100-python with its files meta, train and test, found none")
    meta = load_pickle(archive, base + "meta", "fine_label_names", "coarse_label_names")
    names = [texts(meta[key], f"{path}: {key}") for key in ("fine_label_names", "coarse_label_names")]
    images: dict[str, list[str]] = {}
    above: dict[str, str] = {}
    for part in PARTS:
        file, where = base + part, f"{path}: {base}{part}"
        content = load_pickle(archive, file, "data", *LABELS)
        fine, coarse = (whole_numbers(content[key], f"{where}: {key}") for key in LABELS)
        if not len(_pixels(content["data"], where)) == len(fine) == len(coarse):
            raise InputError(
                f"{where}: expected as many labels as images ({len(content['data'])}), "
                f"got {len(fine)} fine and {len(coarse)} coarse"
            )
        for label, rows in indexes_by_label(fine, f"{where}: fine_labels").items():
            if not 0 <= label < len(names[0]) or not 0 <= coarse[rows[0]] < len(names[1]):
                raise InputError(f"{where}: label {label}, of superclass {coarse[rows[0]]}, is not in meta")
            images.setdefault(names[0][label], []).extend(row_keys(file, rows))
            above[names[0][label]] = names[1][coarse[rows[0]]]
    expected = read_benchmark(name).classes
    if missing := [entry for split in SPLITS for entry in expected[split] if entry not in images]:
        raise InputError(f"{path}: class {missing[0]} has no image ({len(missing)} of 100 classes have none)")
    splits = {
        split: [
            SourceClass(
                entry, entry.replace("_", " "), tuple(images[entry]), above[entry], f"{above[entry]}/{entry}"
            )
            for entry in expected[split]
        ]
        for split in SPLITS
    }
    return Source(name, str(path), splits, lambda keys: read_rows(lambda file: _images(archive, file), keys))


def _images(archive: Archive, file: str) -> np.ndarray:
    rows = _pixels(load_pickle(archive, file, "data")["data"], f"{archive.path}: {file}")
    return rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def _pixels(rows: object, where: str) -> np.ndarray:
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.shape[1:] != (3072,):
        found = f"{rows.dtype} {list(rows.shape)}" if isinstance(rows, np.ndarray) else type(rows).__name__
        raise InputError(f"{where}: expected data as uint8 [n, 3072], got {found}")
    return rows
