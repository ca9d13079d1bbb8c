"""Writing features of a data set as the .npz file that `FeatureSet.from_npz` and ``fewshot compare`` read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fewshot.core.errors import InputError
from fewshot.core.files import replacing
from fewshot.data.labelled import FeatureSet


def write_features(
    path: str | Path,
    splits: Mapping[str, FeatureSet],
    class_ids: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Write the splits of a data set into one .npz file, atomically.

    The file holds ``features [n, D]``, ``labels [n]`` (the classes' identifiers), ``split [n]`` and, per
    class, ``classes [C]`` (the identifiers in order), ``names [C]`` and ``paths [C]`` (``""`` if unknown).

    Args:
        path: the file to write.
        splits: the features of each split, by its name.
        class_ids: one identifier per class (such as a wnid) for each split; default: the names.

    Raises:
        InputError: no features, features of different sizes, a class without features, two classes with one
            identifier, or a file that cannot be written.

    Example:
        >>> import tempfile, torch
        >>> file = Path(tempfile.mkdtemp()) / "features.npz"
        >>> data = FeatureSet(torch.eye(2), torch.tensor([0, 1]), ("owl", "cat"), paths=("bird/owl", ""))
        >>> write_features(file, {"test": data})
        >>> FeatureSet.from_npz(file).class_names, FeatureSet.from_npz(file).paths
        (('owl', 'cat'), ('bird/owl', ''))
    """
    sizes = {data.features.shape[1] for data in splits.values()}
    if len(sizes) != 1:
        raise InputError(f"splits: expected features of one size, got {sorted(sizes) or 'no split'}")
    ids = {split: tuple((class_ids or {}).get(split, data.class_names)) for split, data in splits.items()}
    classes: dict[str, tuple[str, str]] = {}
    for split, data in splits.items():
        _check(split, data, ids[split])
        paths = data.paths or ("",) * data.num_classes
        for own, said in zip(ids[split], zip(data.class_names, paths, strict=True), strict=True):
            if classes.setdefault(own, said) != said:
                raise InputError(
                    f"splits: class '{own}' of {split} has another name or path in another split"
                )
    rows = [np.array(ids[split])[data.labels.cpu().numpy()] for split, data in splits.items()]
    arrays: dict[str, Any] = {
        "features": np.concatenate([data.features.cpu().float().numpy() for data in splits.values()]),
        "labels": np.concatenate(rows),
        "split": np.repeat(list(splits), [len(data) for data in splits.values()]),
        "classes": np.array(list(classes)),
        "names": np.array([name for name, _ in classes.values()]),
        "paths": np.array([place for _, place in classes.values()]),
    }
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def _check(split: str, data: FeatureSet, ids: tuple[str, ...]) -> None:
    if len(set(ids)) != data.num_classes or len(ids) != data.num_classes:
        raise InputError(
            f"class_ids: expected {data.num_classes} different ones for the classes of {split}, "
            f"got {len(ids)} of which {len(set(ids))} differ"
        )
    if (empty := (data.counts == 0).nonzero().flatten()).numel():
        raise InputError(f"splits: class '{data.class_names[int(empty[0])]}' of {split} has no features")
