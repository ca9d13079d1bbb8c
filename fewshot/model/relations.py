"""Relations by label: what is known of each class, as rows over the known classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.core.taxonomy import similarity
from fewshot.graph.known_classes import KnownClasses


def rows(relations: Mapping[Any, Any], labels: Iterable[Any], known: KnownClasses) -> Float[Tensor, "N C"]:
    """What is known of each of N classes, in the order of their labels.

    Args:
        relations: for any label a path (names joined by ``/``, or a sequence of names), or a row of C
            similarities to the known classes, larger is nearer, on one scale for all labels; None or an empty
            path: unknown. Paths are compared with the known classes' as in `fewshot.taxonomy.similarity`.
        labels: of the N classes; nothing is known of those that ``relations`` lacks.
        known: the C known classes, with paths if any label has one.

    Returns:
        float32 ``[N, C]``; NaN throughout the row of a class of which nothing is known.

    Raises:
        InputError: a path for known classes without paths, or something that is neither a path nor a row of C
            numbers.

    >>> known = KnownClasses(torch.eye(2), ("crow", "cat"), (("animal", "bird", "crow"), ("animal", "cat")))
    >>> rows({"crane": "animal/bird/crane", "dog": [0.1, 0.7]}, ["boat", "crane", "dog"], known)
    tensor([[   nan,    nan],
            [0.6667, 0.4000],
            [0.1000, 0.7000]])
    """
    labels = list(labels)
    found = torch.full((len(labels), len(known)), torch.nan)
    paths: dict[int, str | Sequence[str]] = {}
    for place, label in enumerate(labels):
        given = relations.get(label)
        if _is_path(given):
            paths[place] = given
        elif given is not None:
            found[place] = _row(given, label, len(known))
    if paths:
        if known.paths is None:
            raise InputError(
                "relations: expected rows, as the known classes have no paths, got a path for class "
                f"'{labels[next(iter(paths))]}'"
            )
        found[list(paths)] = similarity(paths.values(), known.paths)
    return found


def check_relations(known: Any, relations: Any, belief: Any) -> None:
    """Raise an InputError that names the argument unless these are what an estimator takes.

    >>> check_relations(None, {"crane": "animal/bird/crane"}, None)
    Traceback (most recent call last):
    ...
    fewshot.InputError: relations: expected known classes with them (known=, or a model's own), got none
    """
    if known is not None and not isinstance(known, KnownClasses):
        raise InputError(f"known: expected KnownClasses, got {type(known).__name__}")
    if relations is not None and not isinstance(relations, Mapping):
        kind = type(relations).__name__
        raise InputError(f"relations: expected a mapping from labels to paths or rows, got {kind}")
    if relations is not None and known is None:
        raise InputError("relations: expected known classes with them (known=, or a model's own), got none")
    if belief is not None and not (isinstance(belief, int | float | np.floating) and 0 <= belief <= 1):
        raise InputError(f"belief: expected a number from 0 to 1, or None to judge it, got {belief!r}")


def fitting(known: KnownClasses | None, size: int) -> KnownClasses:
    """Known classes, if their prototypes have as many features as the supports; else an InputError."""
    assert known is not None  # see `check_relations`
    if (own := known.prototypes.shape[1]) != size:
        raise InputError(f"known: expected prototypes of {size} features, as the supports have, got {own}")
    return known


def labels_in(relations: Mapping[Any, Any], y: Shaped[np.ndarray, " n"]) -> Shaped[np.ndarray, " m"]:
    """The labels that relations are given for.

    Args:
        relations: by label.
        y: labels of supports, which decide between text and numbers.

    Raises:
        InputError: text where y has numbers, or numbers where y has text.

    >>> labels_in({"crane": "animal/bird", "dog": None}, np.array(["crane", "boat"])).tolist()
    ['crane', 'dog']
    """
    texts = {isinstance(label, str) for label in relations}
    if texts - {isinstance(y[0], str)}:
        raise InputError(f"relations: expected labels of the kind of y's, such as {y[:1].tolist()[0]!r}")
    return np.array(list(relations), y.dtype if y.dtype == object else None)


def _is_path(given: Any) -> TypeGuard[str | Sequence[str]]:
    is_sequence = isinstance(given, Sequence) and all(isinstance(name, str) for name in given)
    return isinstance(given, str) or is_sequence


def _row(given: Any, label: Any, classes: int) -> Float[Tensor, " C"]:
    expected = f"relations: expected a path or {classes} numbers, one per known class, "
    try:
        row = torch.as_tensor(given, dtype=torch.float32, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"{expected}got {type(given).__name__} for class '{label}'") from None
    if row.shape != (classes,):
        raise InputError(f"{expected}got {list(row.shape)} for class '{label}'")
    if row.isinf().any() or (row.isnan().any() and not row.isnan().all()):
        raise InputError(f"{expected}all finite or all nan, got others for class '{label}'")
    return row
