"""Folders of images, one folder per class."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np

from fewshot.core.errors import InputError
from fewshot.data.labelled import SPLITS
from fewshot.data.readers.archives import Listing, open_archive
from fewshot.data.readers.source import EXTENSIONS, Source, SourceClass

SHARES = {"val": 0.16, "test": 0.20}  # of a pool's classes; the rest is for training


# Two folders of these names are splits, not classes.
SPLIT_WORDS = {"train", "training", "val", "valid", "validation", "test", "testing"}


def folder(path: Path, seed: int = 0) -> Source:
    """One folder per class, below ``train/ val/ test/`` or as one pool whose classes are split by the seed.

    A class is a folder that holds images; the folders above it become its superclass and taxonomy. A pool's
    classes are split 64 % for training, 16 % for validation and 20 % for testing. Any of ``train/ val/
    test/`` may be missing; that split is then empty.

    Raises:
        InputError: no image, an image outside any class, a folder without images, a class in two splits, or a
            pool of fewer than 3 classes.
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


def _without_images(content: Listing, holders: set[str]) -> list[str]:
    """Folders with no image in them or below."""
    used = {
        parent.as_posix()
        for name in holders
        for parent in (PurePosixPath(name), *PurePosixPath(name).parents)
    }
    return sorted(content.folders - used)


def _common_top(images: list[str]) -> PurePosixPath:
    """The single top folder that archives often have; empty if there is none."""
    tops = {PurePosixPath(name).parts[0] for name in images}
    wrapped = len(tops) == 1 and not tops & set(SPLITS) and all(name.count("/") >= 2 for name in images)
    return PurePosixPath(tops.pop() if wrapped else "")


def _by_folder(path: Path, by_class: dict[str, list[str]]) -> dict[str, list[SourceClass]] | None:
    """The classes of ``train/ val/ test/``; None if the folders do not have that layout."""
    tops = {name.split("/")[0] for name in by_class}
    if strangers := sorted(tops - set(SPLITS)):
        several = len({top for top in tops if top.lower() in SPLIT_WORDS}) > 1
        if several or ("train" in tops and len(tops) <= 3 and all("/" in name for name in by_class)):
            raise InputError(f"{path}: expected no folder next to train/, val/, test/, got {strangers[0]}/")
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
