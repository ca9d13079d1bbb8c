"""Relations of a support folder's classes to a model's known classes, from a table or from their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.core.taxonomy import similarity, text_similarity
from fewshot.data.class_table import ClassRow, ClassTable, read_class_table
from fewshot.data.paths import find_paths
from fewshot.graph.known_classes import KnownClasses

TABLES = ("names.csv", "classes.csv")  # of a support folder, the first that is there


@dataclass(frozen=True, eq=False)
class FolderRelations:
    """Relations of N classes to C known ones, as the class graph takes them.

    Args:
        rows: similarities **[N, C]**, larger is nearer; a row of NaN: nothing is known of that class.
        among: the same similarity among the known classes **[C, C]**, if the graph is to judge by it what
            such relations are worth; None: not given.
    """

    rows: Float[Tensor, "N C"]
    among: Float[Tensor, "C C"] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """Both as the graph's options."""
        return {"relations": self.rows, "known_relations": self.among}


def folder_relations(
    relations: str | Path, support: str | Path, classes: Sequence[str], known: KnownClasses | None
) -> FolderRelations | None:
    """What is known of the classes of a support folder.

    Args:
        relations: "none"; "names": by ``names.csv`` or ``classes.csv`` in the support folder, else by the
            classes' names, if they are identifiers of a benchmark (wnids, CUB's) or all the classes of one of
            its splits; or a table of classes (``.csv``, see `fewshot.data.class_table`) with the classes'
            paths, their wnids, or their descriptions (``text``) together with those of known classes.
        support: the folder.
        classes: their names, in order.
        known: the model's known classes; None: it has none.

    Returns:
        None if nothing is known of any class.

    Raises:
        InputError: an option that is none of these, a table that cannot be used, or a table for a model
            without known classes.

    >>> import torch
    >>> known = KnownClasses(torch.eye(2), ("n02104029", "n02930766"), find_paths(["n02108089", "n04146614"]))
    >>> folder_relations("names", "photos", ["n02116738", "mine"], known).rows
    tensor([[0.8387, 0.3200],
            [   nan,    nan]])
    """
    if str(relations) == "none":
        return None
    if str(relations) == "names":
        file = next((file for name in TABLES if (file := Path(support) / name).is_file()), None)
        if known is None or not (known.paths and any(known.paths)):
            return None  # there is nothing that names could be compared with
        if file is None:
            return _by_paths(find_paths(classes) or (), known)
        return _by_table(read_class_table(file, classes), file, classes, known)
    file = Path(relations)
    if file.suffix.lower() != ".csv":
        raise InputError(f"relations: expected names, none or a table (.csv), got {str(relations)!r}")
    if known is None:
        raise InputError("relations: expected a model with known classes for a table, got one without")
    table = read_class_table(file, {*classes, *(known.names or ())})
    return _by_table(table, file, classes, known)


def _by_table(
    table: ClassTable, file: Path, classes: Sequence[str], known: KnownClasses
) -> FolderRelations | None:
    rows = [table.get(name, ClassRow()) for name in classes]
    by_wnid = [(find_paths([row.wnid]) or ("",))[0] if row.wnid else "" for row in rows]
    paths = [row.path or found for row, found in zip(rows, by_wnid, strict=True)]
    if any(paths):
        if not (known.paths and any(known.paths)):
            raise InputError(f"{file}: it has paths, but the model's known classes have none to compare with")
        return _by_paths(paths, known)
    if not any(row.text for row in rows):
        return None
    texts = [table.get(name, ClassRow()).text for name in known.names or ()]
    if not any(texts):
        raise InputError(
            f"{file}: expected the known classes' texts as well as the new ones', got none of "
            f"{', '.join((known.names or ())[:3])}, …"
        )
    return FolderRelations(*text_similarity([row.text for row in rows], texts))


def _by_paths(paths: Sequence[str], known: KnownClasses) -> FolderRelations | None:
    return FolderRelations(similarity(paths, known.paths or ())) if any(paths) else None
