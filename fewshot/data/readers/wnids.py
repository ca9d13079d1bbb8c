"""ImageNet's folders: one per class, named by its wnid."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path, PurePosixPath

from fewshot.core.errors import InputError
from fewshot.data.readers.source import EXTENSIONS


def images_by_wnid(path: Path, files: Collection[str], wnids: Collection[str]) -> dict[str, list[str]]:
    """The images of each wnid, in folders of that name at any depth.

    If a class has folders both below ``train`` and elsewhere (ImageNet's validation images are often sorted
    into such folders), the one below ``train`` counts.

    Args:
        path: where they are, for messages.
        files: all files there.
        wnids: the classes.

    Raises:
        InputError: a wnid has no images, or has several folders and it is unclear which is meant.
    """
    folders: dict[str, dict[str, list[str]]] = {wnid: {} for wnid in wnids}
    for name in files:
        place = PurePosixPath(name)
        if place.parent.name in folders and place.suffix.lower() in EXTENSIONS:
            folders[place.parent.name].setdefault(place.parent.as_posix(), []).append(name)
    if missing := [wnid for wnid in wnids if not folders[wnid]]:
        raise InputError(
            f"{path}: expected a folder of images for each of {len(wnids)} classes, found none for "
            f"{missing[0]} ({len(missing)} in all)"
        )
    return {wnid: _chosen(path, wnid, folders[wnid]) for wnid in wnids}


def _chosen(path: Path, wnid: str, folders: dict[str, list[str]]) -> list[str]:
    if len(folders) > 1:
        trained = [name for name in folders if "train" in PurePosixPath(name).parts]
        if len(trained) != 1:
            first, second = sorted(folders)[:2]
            raise InputError(f"{path}: class {wnid} is both in {first} and in {second}")
        return folders[trained[0]]
    return next(iter(folders.values()))
