"""tieredImageNet from its authors' pickles, or from ImageNet's folders."""

from __future__ import annotations

from pathlib import Path
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
    texts,
    whole_numbers,
)
from fewshot.data.readers.source import Source, SourceClass
from fewshot.data.readers.unpickle import unpickle
from fewshot.data.readers.wnids import images_by_wnid

LABELS = ("label_specific", "label_general")


def tieredimagenet(path: Path) -> Source:
    """Ren et al., ICLR 2018: 351, 97 and 160 classes of ImageNet, split by superclass.

    Args:
        path: ``{train,val,test}_images_png.pkl`` (lists of encoded images), ``{train,val,test}_labels.pkl``
            (``label_specific`` and ``label_specific_str``, and the same with ``general``), whose classes have
            names but no wnids; or ImageNet's training images, one folder per wnid.

    Raises:
        InputError: a file is missing, incomplete or would run code; labels do not fit; a class has no images.
    """
    archive = open_archive(path)
    files = set(archive.listing().files)
    base = base_of(files, "train_images_png.pkl")
    if base is not None:
        return _pickled(archive, base, files)
    classes = read_benchmark("tieredimagenet").classes
    images = images_by_wnid(path, files, [wnid for split in SPLITS for wnid in classes[split]])
    splits = {
        split: [SourceClass(wnid, wnid, tuple(sorted(images[wnid]))) for wnid in classes[split]]
        for split in SPLITS
    }
    return Source("tieredimagenet", str(path), splits, archive.read)


def _pickled(archive: Archive, base: str, files: set[str]) -> Source:
    splits = {}
    home: dict[str, str] = {}
    for split in SPLITS:
        images, labels = f"{base}{split}_images_png.pkl", f"{base}{split}_labels.pkl"
        for name in (images, labels):
            if name not in files:
                raise InputError(f"{archive.path}: found {base}train_images_png.pkl, but no {name}")
        splits[split] = _classes(archive, images, labels)
        for entry in splits[split]:
            if home.setdefault(entry.id, split) != split:
                raise InputError(f"{archive.path}: {labels}: class {entry.id} is in {home[entry.id]} too")
    return Source(
        "tieredimagenet",
        str(archive.path),
        splits,
        lambda keys: read_rows(lambda file: _images(archive, file), keys),
    )


def _classes(archive: Archive, images: str, labels: str) -> list[SourceClass]:
    where = f"{archive.path}: {labels}"
    content = load_pickle(archive, labels, *LABELS, *(f"{key}_str" for key in LABELS))
    count = len(_images(archive, images))
    rows = indexes_by_label(content["label_specific"], f"{where}: label_specific")
    names, above = (texts(content[f"{key}_str"], f"{where}: {key}_str") for key in LABELS)
    specific, general = (whole_numbers(content[key], f"{where}: {key}") for key in LABELS)
    for key, given in zip(LABELS, (specific, general), strict=True):
        if len(given) != count:
            raise InputError(f"{where}: expected as many of {key} as images ({count}), got {len(given)}")
        if count and given.min() < 0:
            raise InputError(f"{where}: expected {key} from 0 up, got {given.min()}")
    try:
        coarse = {label: above[int(general[indexes[0]])] for label, indexes in rows.items()}
        return [
            SourceClass(
                names[label], names[label], row_keys(images, rows[label]), coarse[label],
                f"{coarse[label]}/{names[label]}",
            )
            for label in rows
        ]  # fmt: skip
    except (IndexError, TypeError, ValueError):
        raise InputError(f"{where}: a label has no name") from None


def _images(archive: Archive, file: str) -> list[Any] | np.ndarray:
    where = f"{archive.path}: {file}"
    images = unpickle(dict(archive.read([file]))[file], where)
    if not isinstance(images, list | np.ndarray):
        raise InputError(f"{where}: expected a list of encoded images, got {type(images).__name__}")
    return images
