"""The classes' paths in a taxonomy, for relations: a data set's own, else those of a benchmark's classes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from fewshot.core.shipped import find, names
from fewshot.core.untrusted.documents import read_yaml

# A wnid, or a bird of CUB: these mean the same class wherever they are found.
_UNMISTAKABLE = re.compile(r"n\d{8}|\d{3}\.\w+")


@dataclass(frozen=True)
class _Shipped:
    """A benchmark's paths by class, and the classes of each of its splits."""

    paths: Mapping[str, str]
    splits: tuple[frozenset[str], ...]


def find_paths(class_ids: Sequence[str]) -> tuple[str, ...] | None:
    """The paths of these classes among the benchmarks that come with the package.

    A wnid or one of CUB's identifiers is found wherever it occurs. Words are ambiguous (a mouse may be a
    computer's), so that these are found only if they are all the classes of one split of a benchmark.

    Args:
        class_ids: wnids, or a benchmark's other identifiers.

    Returns:
        One path per class, ``""`` for those that are in no benchmark; None if none is found.

    Example:
        >>> find_paths(["n09428293", "n00000000"])
        ('entity/physical_entity/object/geological_formation/shore/seashore', '')
        >>> find_paths(["mouse", "keyboard"]) is None
        True
    """
    if any(map(_UNMISTAKABLE.fullmatch, class_ids)):
        merged = {name: path for shipped in _all_shipped() for name, path in shipped.paths.items()}
        paths = tuple(merged.get(name, "") if _UNMISTAKABLE.fullmatch(name) else "" for name in class_ids)
        return paths if any(paths) else None
    asked = frozenset(class_ids)
    whole = (shipped.paths for shipped in _all_shipped() if asked in shipped.splits)
    return next((tuple(paths[name] for name in class_ids) for paths in whole), None)


def paths_of(source: str, classes: Sequence[Mapping[str, Any]]) -> tuple[str, ...] | None:
    """The paths of a pack's classes.

    The first of these that there is: paths given as such; a taxonomy that says more than the superclasses;
    the paths of the benchmark of the source's name; those of the wnids; the taxonomy.

    Args:
        source: the source's name, which may be a benchmark's.
        classes: for each class ``id``, ``superclass``, ``taxonomy`` and, optionally, ``path``.

    Returns:
        One path per class, ``""`` if unknown; None if no class has one.

    Example:
        >>> paths_of("mine", [{"id": "owl", "superclass": "bird", "taxonomy": "bird/owl"}])
        ('bird/owl',)
    """
    given = tuple(entry.get("path") or "" for entry in classes)
    if any(given):
        return given
    taxonomy = tuple(entry["taxonomy"] or "" for entry in classes)
    below = tuple(entry["superclass"] or "" for entry in classes)  # a taxonomy of two levels
    if any(taxonomy) and tuple(path.rpartition("/")[0] for path in taxonomy) != below:
        return taxonomy
    class_ids = [entry["id"] for entry in classes]
    known = _shipped(source).paths if source in names("datasets") else {}
    if class_ids and all(name in known for name in class_ids):
        return tuple(known[name] for name in class_ids)
    found = find_paths(class_ids) if any(map(_UNMISTAKABLE.fullmatch, class_ids)) else None
    return found or (taxonomy if any(taxonomy) else None)


def _all_shipped() -> list[_Shipped]:
    return [_shipped(name) for name in names("datasets")]


@cache
def _shipped(name: str) -> _Shipped:
    content = read_yaml(find("datasets", name))
    if "like" in content:
        return _shipped(content["like"])
    if "taxonomy" not in content:
        return _Shipped({}, ())
    return _Shipped(content["taxonomy"], tuple(map(frozenset, content["classes"].values())))
