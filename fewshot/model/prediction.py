"""What is answered for a query image, and the rows of the CSV file that `fewshot predict` writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from fewshot.core.errors import InputError
from fewshot.core.taxonomy import nearest_group

FIRST = ("file", "class", "probability")
FURTHER = ("none_of_these", "sure_set", "group")
JOINT = ";"  # between the names of a set


@dataclass(frozen=True)
class Prediction:
    """The prediction for a query image.

    Args:
        file, name: the image, and the class that it is assigned to.
        probability, probabilities: of that class, and of all classes; they sum to 1.
        none_of_these: the probability that it is of none of the classes; None: not asked for.
        sure_set: names of the smallest set that holds the right class as often as asked for, the most
            probable first; empty: not asked for.
        group: the nearest common group of the set's classes in their taxonomy; "" if unknown.
    """

    file: Path
    name: str
    probability: float
    probabilities: dict[str, float]
    none_of_these: float | None = None
    sure_set: tuple[str, ...] = ()
    group: str = ""


def predictions(
    files: Sequence[Path],
    names: Sequence[str],
    probabilities: Float[np.ndarray, "M N"],
    chosen: Int[np.ndarray, " M"],
    unknown: Float[np.ndarray, " M"] | None = None,
    sets: Bool[np.ndarray, "M N"] | None = None,
    paths: Mapping[str, str] | None = None,
) -> list[Prediction]:
    """The predictions for M queries of N classes.

    Args:
        files, names: of the queries, and of the classes.
        probabilities: of the classes.
        chosen: the class that each query is assigned to.
        unknown: probabilities that the queries are of none of the classes; default None: not asked for.
        sets: which classes are in each query's set; default None: not asked for.
        paths: of the classes in a taxonomy; default None: unknown.

    >>> sets = np.array([[True, False, True]])
    >>> paths = {"crane": "bird/crane", "heron": "bird/heron", "fox": "mammal/fox"}
    >>> p = np.array([[0.3, 0.1, 0.6]])
    >>> [found] = predictions([Path("1.png")], list(paths), p, p.argmax(1), sets=sets, paths=paths)
    >>> found.name, found.sure_set, found.group
    ('fox', ('fox', 'crane'), '')
    """
    found = []
    for m, file in enumerate(files):
        row = probabilities[m].tolist()
        held = [] if sets is None else [names[i] for i in np.argsort(-probabilities[m]) if sets[m, i]]
        found.append(
            Prediction(
                file,
                names[chosen[m]],
                row[chosen[m]],
                dict(zip(names, row, strict=True)),
                none_of_these=None if unknown is None else float(unknown[m]),
                sure_set=tuple(held),
                group="/".join(nearest_group([paths.get(name) for name in held])) if paths else "",
            )
        )
    return found


def check_class_names(names: Iterable[str], sets: bool = False) -> None:
    """Refuse classes whose names would make the table ambiguous.

    Args:
        names: of the classes.
        sets: whether sets of classes are asked for, whose names are joined; default False.

    Raises:
        InputError: a class that is called like a column, or whose name holds the mark between names.

    >>> check_class_names(["ant", "group"])
    Traceback (most recent call last):
    ...
    fewshot.InputError: support: expected classes with other names than the columns of a table ...
    """
    reserved = (*FIRST, *FURTHER)
    for name in names:
        if name in reserved:
            raise InputError(
                "support: expected classes with other names than the columns of a table "
                f"({', '.join(reserved)}), got {name!r}; rename its folder"
            )
        if sets and JOINT in name:
            raise InputError(
                f"support: expected classes without {JOINT!r} in their names, which joins those of a set, "
                f"got {name!r}"
            )


def answer_table(found: Sequence[Prediction]) -> list[list[Any]]:
    """The header and one row per query: ``file,class,probability``, one column per class, what was asked for.

    ``none_of_these`` is the probability that the query is of none of the classes, ``sure_set`` the names of
    its set, joined by ``;``, and ``group`` the nearest common group of these.
    """
    none, sets = found[0].none_of_these is not None, bool(found[0].sure_set)
    rows: list[list[Any]] = [[*FIRST, *found[0].probabilities, *FURTHER[:none], *FURTHER[1 : 1 + 2 * sets]]]
    for one in found:
        row = [one.file, one.name, one.probability, *one.probabilities.values()]
        row += [one.none_of_these] if none else []
        row += [JOINT.join(one.sure_set), one.group] if sets else []
        rows.append(row)
    return rows
