"""Image files as features: the classes of a support folder, and the files of queries."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.core.files import expanded
from fewshot.core.untrusted.plain import LARGEST_IMAGE, read_plain
from fewshot.data.labelled import LabelledSet
from fewshot.data.readers.images import decode
from fewshot.data.readers.source import EXTENSIONS
from fewshot.model.feature_cache import FeatureCache
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.preprocess import LARGEST_SIDE

BATCH, LARGEST_BATCH = 256, 2**25  # images, and pixels, decoded at a time
MOST = 10**6  # files below a folder


def class_folders(folder: str | Path) -> list[Path]:
    """The folders of classes in a folder, sorted; hidden ones are left out.

    Raises:
        InputError: no such folder.
    """
    folder = _existing("support", folder)
    if not folder.is_dir():
        raise InputError(f"support: expected a folder with one folder per class, got the file {folder}")
    return sorted(home for home in folder.iterdir() if home.is_dir() and not home.name.startswith("."))


def support_files(folder: str | Path, zero_shot: bool = False) -> dict[str, list[Path]]:
    """The image files of each class of a support folder: class names by folder, sorted.

    Args:
        folder: with one folder per class.
        zero_shot: whether a class may have no image, if its folder is empty; default False.

    Raises:
        InputError: no such folder, a class without images, fewer than two classes.
    """
    folder = expanded(folder)
    classes = {home.name: _images_below(home) for home in class_folders(folder)}
    for name, files in classes.items():
        if not files and not (zero_shot and _is_empty(folder / name)):
            raise InputError(f"support: class {name!r} has no image in {folder / name}")
    if len(classes) < 2:
        raise InputError(
            f"support: expected at least 2 folders, one per class, in {folder}, got {len(classes)}"
        )
    return classes


def query_files(query: str | Path | Sequence[str | Path]) -> list[Path]:
    """The query files that files and folders stand for, each once.

    Raises:
        InputError: a path that does not exist, a folder without images, no path at all.
    """
    found: dict[Path, None] = {}
    for path in [query] if isinstance(query, (str, Path)) else query:
        path = _existing("query", path)
        files = _images_below(path) if path.is_dir() else [path]
        if not files:
            raise InputError(f"query: no image in {path} ({', '.join(sorted(EXTENSIONS))})")
        found |= dict.fromkeys(files)
    if not found:
        raise InputError("query: expected at least one file or folder, got none")
    return list(found)


def encode_files(
    model: GraphFewShot, files: Sequence[Path], cache: FeatureCache | None = None
) -> Float[Tensor, "n D"]:
    """The features of image files, minus the base mean.

    Args:
        model: encodes them.
        files: at least one.
        cache: where features are found and kept; default None: they are computed.

    Raises:
        InputError: a file that cannot be read or decoded.
    """
    parts = []
    side = model.preprocess.size or LARGEST_SIDE
    batch = min(BATCH, max(1, LARGEST_BATCH // side**2))
    for start in range(0, len(files), batch):
        some = files[start : start + batch]
        contents = [_content(file) for file in some]
        known = {} if cache is None else cache.get(contents)
        new = [place for place in range(len(some)) if place not in known]
        if new:
            images = _decoded(model, [some[place] for place in new], [contents[place] for place in new])
            # All have the same label, as only the features matter.
            data = LabelledSet(images, torch.zeros(len(images), dtype=torch.int64), ("image",))
            found = model.features(data).items
            if cache is not None:
                cache.put([contents[place] for place in new], found)
            known |= dict(zip(new, found, strict=True))
        parts += [known[place] for place in range(len(some))]
    return torch.stack(parts)


def cache_for(model: GraphFewShot) -> FeatureCache | None:
    """The cache of a model's features; None for one whose backbone cannot be told from others."""
    named = getattr(model.backbone, "config", None) is not None and model.preprocess.size is not None
    return FeatureCache(model) if named else None


def encode_support(
    model: GraphFewShot,
    classes: dict[str, list[Path]],
    cache: FeatureCache | None = None,
    encode: Callable[[Sequence[Path]], Float[Tensor, "n D"]] | None = None,
) -> tuple[Float[Tensor, "1 N K D"], Bool[Tensor, "1 N K"]]:
    """The features of the classes' images, padded to the most shots, and the mask of the actual ones.

    Args:
        model, cache: as of `encode_files`.
        classes: the files of each class.
        encode: what gives the features of files; default None: `encode_files`.
    """
    counts = [len(files) for files in classes.values()]
    files = [file for own in classes.values() for file in own]
    if files:
        features = encode_files(model, files, cache) if encode is None else encode(files)
    else:  # zero-shot classes alone, which a model with known classes can have
        features = torch.zeros(0, model.known.prototypes.shape[1] if model.known is not None else 1)
    return padded(features, counts)


def padded(
    features: Float[Tensor, "n D"], counts: Sequence[int]
) -> tuple[Float[Tensor, "1 N K D"], Bool[Tensor, "1 N K"]]:
    """Features of N classes one after the other, padded to the most shots, and the mask of the actual ones.

    >>> padded(torch.ones(3, 1), [1, 0, 2])[1].tolist()
    [[[True, False], [False, False], [True, True]]]
    """
    rows = torch.zeros(len(counts), max(*counts, 1), features.shape[1])
    mask = torch.arange(rows.shape[1]) < torch.tensor(counts)[:, None]
    rows[mask] = features
    return rows[None], mask[None]


def _decoded(model: GraphFewShot, files: Sequence[Path], contents: Sequence[bytes]) -> Tensor:
    """Image files as uint8 [n, C, S, S], cropped and resized to the model's size as in a packed data set."""
    channels, size = model.preprocess.channels or 3, model.preprocess.size
    images = [
        decode(content, str(file), channels, size) for file, content in zip(files, contents, strict=True)
    ]
    for file, image in zip(files, images, strict=True):
        if max(image.shape[1:]) > LARGEST_SIDE:
            raise InputError(
                f"{file}: this model does not resize; expected at most {LARGEST_SIDE} pixels per side, "
                f"got {list(image.shape[1:])}"
            )
        if image.shape != images[0].shape:  # only if the model keeps the images' own size
            raise InputError(
                f"{file}: this model does not resize; expected {list(images[0].shape[1:])} pixels as in "
                f"{files[0]}, got {list(image.shape[1:])}"
            )
    return torch.from_numpy(np.stack(images))


def _existing(argument: str, path: str | Path) -> Path:
    path = expanded(path)
    if not path.exists():
        raise InputError(f"{argument}: no such file or folder: {path}")
    return path


def _images_below(folder: Path) -> list[Path]:
    """All image files below a folder, by path; hidden ones are left out."""
    return sorted(file for file in _files_below(folder) if file.suffix.lower() in EXTENSIONS)


def _content(file: Path) -> bytes:
    return read_plain(file, LARGEST_IMAGE)


def _is_empty(folder: Path) -> bool:
    """Whether a folder holds no file but hidden ones."""
    return next(_files_below(folder), None) is None


def _files_below(folder: Path) -> Iterator[Path]:
    """All files below a folder that are not hidden; links to folders are not followed.

    Raises:
        InputError: a folder that cannot be read, or so many files that it cannot be meant.
    """
    seen = 0

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror})")

    for home, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if (seen := seen + len(folders) + len(files)) > MOST:
            raise InputError(f"{folder}: expected a folder of images, got more than {MOST:,} files")
        for name in files:
            if not name.startswith(".") and (file := Path(home, name)).is_file():
                yield file
