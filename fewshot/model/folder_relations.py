"""Relations of a support folder's classes to a model's known classes, from a table or from their names."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from fewshot.core.class_names import Meaning, is_wordnet
from fewshot.core.errors import InputError
from fewshot.core.taxonomy import as_path, similarity, text_similarity
from fewshot.data.class_table import ClassRow, ClassTable, read_class_table
from fewshot.data.paths import find_paths
from fewshot.graph.known_classes import KnownClasses
from fewshot.model.names import meanings, relations_of

TABLES = ("names.csv", "classes.csv")  # of a support folder, the first that is there


@dataclass(frozen=True, eq=False)
class FolderRelations:
    """Relations of N classes to C known ones, as the class graph takes them.

    Args:
        rows: similarities **[N, C]**, larger is nearer; a row of NaN: nothing is known of that class.
        among: the same similarity among the known classes **[C, C]**, if the graph is to judge by it what
            such relations are worth; None: not given.
        meanings: what each class was taken for, by name, if that is known.
    """

    rows: Float[Tensor, "N C"]
    among: Float[Tensor, "C C"] | None = None
    meanings: Mapping[str, Meaning] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, Any]:
        """Both as the graph's options."""
        return {"relations": self.rows, "known_relations": self.among}


def folder_relations(
    relations: str | Path,
    support: str | Path,
    classes: Sequence[str],
    known: KnownClasses | None,
    prototypes: Float[Tensor, "N D"] | None = None,
) -> FolderRelations | None:
    """What is known of the classes of a support folder.

    Args:
        relations: "none"; "names": by ``names.csv`` or ``classes.csv`` in the support folder, else by the
            classes' names: words that WordNet has, if the known classes are WordNet's; else identifiers of a
            benchmark (wnids, CUB's) or all the classes of one of its splits; or a table of classes (``.csv``,
            see `fewshot.data.class_table`) with the classes' paths, their wnids, their names, or their
            descriptions (``text``) together with those of known classes.
        support: the folder.
        classes: their names, in order.
        known: the model's known classes; None: it has none.
        prototypes: of the classes, NaN for one without images, which tell the senses of an ambiguous name
            apart; default None: not known.

    Returns:
        None if nothing is known of any class.

    Raises:
        InputError: an option that is none of these, a table that cannot be used, or a table for a model
            without known classes.

    >>> import torch
    >>> known = KnownClasses(torch.eye(2), ("n02104029", "n02930766"), find_paths(["n02108089", "n04146614"]))
    >>> folder_relations("names", "photos", ["n02116738", "xyz"], known).rows
    tensor([[0.8387, 0.3200],
            [   nan,    nan]])
    """
    if str(relations) == "none":
        return None
    if str(relations) == "names":
        if known is None or not (known.paths and any(known.paths)):
            return None  # there is nothing that names could be compared with
        file, table = own_table(support, classes)
        if is_wordnet(known.paths):
            return _by_names(classes, table, known, prototypes)
        return _by_table(table, file, classes, known) if table else None
    file = Path(relations)
    if file.suffix.lower() != ".csv":
        raise InputError(f"relations: expected names, none or a table (.csv), got {str(relations)!r}")
    if known is None:
        raise InputError("relations: expected a model with known classes for a table, got one without")
    table = read_class_table(file, {*classes, *(known.names or ())})
    own = [row for name, row in table.items() if name in classes]
    if is_wordnet(known.paths) and any(row.path or row.wnid or row.name for row in own):
        return _by_names(classes, table, known, prototypes, others=False)
    return _by_table(table, file, classes, known)


def own_table(support: str | Path, classes: Sequence[str]) -> tuple[Path | None, ClassTable]:
    """The table in a support folder; else the paths of the benchmark whose classes these are, if any."""
    file = next((file for name in TABLES if os.path.lexists(file := Path(support) / name)), None)
    if file is not None:
        return file, read_class_table(file, classes)
    found = find_paths(classes) or [""] * len(classes)
    return None, {name: ClassRow(path=path) for name, path in zip(classes, found, strict=True) if path}


def _by_names(
    classes: Sequence[str],
    table: ClassTable,
    known: KnownClasses,
    prototypes: Float[Tensor, "N D"] | None,
    others: bool = True,
) -> FolderRelations | None:
    """By what WordNet has of the names, for classes of the table and, unless not asked for, for others."""
    asked = [name for name in classes if others or name in table]
    places = [place for place, name in enumerate(classes) if name in asked]
    looks = None if prototypes is None else prototypes[places]
    found = {name: Meaning() for name in classes} | meanings(asked, known, looks, table)
    if not any(meaning.path for meaning in found.values()):
        return None
    return FolderRelations(relations_of(list(found.values()), known), meanings=found)


def _by_table(
    table: ClassTable, file: Path | None, classes: Sequence[str], known: KnownClasses
) -> FolderRelations | None:
    rows = [table.get(name, ClassRow()) for name in classes]
    paths = _paths(rows)
    if any(paths):
        if not (known.paths and any(known.paths)):
            raise InputError(f"{file}: it has paths, but the model's known classes have none to compare with")
        return _by_paths(paths, classes, known)
    if not any(row.text for row in rows):
        return None
    texts = [table.get(name, ClassRow()).text for name in known.names or ()]
    if not any(texts):
        raise InputError(
            f"{file}: expected the known classes' texts as well as the new ones', got none of "
            f"{', '.join((known.names or ())[:3])}, …"
        )
    return FolderRelations(*text_similarity([row.text for row in rows], texts))


def _by_paths(paths: Sequence[str], classes: Sequence[str], known: KnownClasses) -> FolderRelations | None:
    found = {name: Meaning(as_path(path)) for name, path in zip(classes, paths, strict=True)}
    rows = similarity(paths, known.paths or ())
    return FolderRelations(rows, meanings=found) if any(paths) else None


def class_paths(relations: str | Path, support: str | Path, classes: Sequence[str]) -> dict[str, str]:
    """The classes' paths in a taxonomy, whatever the known classes are; without those that are unknown.

    Args:
        relations, support, classes: as of `folder_relations`; with "none" the folder's own table counts.

    >>> class_paths("none", "photos", ["n02116738", "mine"])["n02116738"].rpartition("/")[2]
    'African_hunting_dog'
    """
    own = str(relations) in ("names", "none")
    table = own_table(support, classes)[1] if own else read_class_table(relations)
    found = _paths([table.get(name, ClassRow()) for name in classes])
    return {name: path for name, path in zip(classes, found, strict=True) if path}


def _paths(rows: Sequence[ClassRow]) -> list[str]:
    """The path of each row, else that of its wnid; "" if unknown."""
    by_wnid = [(find_paths([row.wnid]) or ("",))[0] if row.wnid else "" for row in rows]
    return [row.path or found for row, found in zip(rows, by_wnid, strict=True)]
