"""Labels if the classes' shares of the queries are given: each class gets as many queries as it should."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from fewshot.core.errors import InputError
from fewshot.core.modes import Mode
from fewshot.data.class_table import read_class_table

MOST = 10_000  # queries, whose assignment takes 8 bytes times their number squared, twice
LEAST = -1e4  # of a log probability, as a class that is ruled out must not make an assignment impossible


def largest_remainders(shares: Float[np.ndarray, " N"], total: int) -> Int[np.ndarray, " N"]:
    """Whole numbers in proportion to shares, with a given sum: rounded down, then up where most is missing.

    Args:
        shares: from 0 up, not all 0.
        total: the sum, from 0 up.

    >>> largest_remainders(np.array([2.0, 1.0, 1.0]), 6).tolist()
    [3, 2, 1]
    """
    exact = total * shares / shares.sum()
    counts = np.floor(exact).astype(np.int64)
    missing = np.argsort(counts - exact, kind="stable")[: total - counts.sum()]
    counts[missing] += 1
    return counts


def best_assignment(
    log_probabilities: Float[np.ndarray, "M N"], shares: Float[np.ndarray, " N"]
) -> Int[np.ndarray, " M"]:
    r"""The most likely labels of all queries together in which each class occurs as often as its share says.

    .. math:: \operatorname{argmax}_y \sum_m \log p_{m y_m} \quad \text{with} \quad |\{m : y_m = c\}| = n_c

    with :math:`n` of `largest_remainders`. It is a linear assignment of queries to places of classes (Crouse,
    *On implementing 2D rectangular assignment algorithms*, 2016, as scipy has it).

    Args:
        log_probabilities: or logits, as only their differences within a query matter.
        shares: of the classes, from 0 up; a class whose log probabilities are all -inf gets no query.

    Raises:
        InputError: no class is left that may occur, or more than 10,000 queries.

    >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.9, 0.1]])
    >>> best_assignment(np.log(p), np.array([0.7, 0.3])).tolist()
    [0, 1, 0]
    """
    from scipy.optimize import linear_sum_assignment

    if len(log_probabilities) > MOST:
        raise InputError(
            f"proportions: expected at most {MOST:,} queries to assign together, "
            f"got {len(log_probabilities):,}"
        )
    shares = np.where(np.isfinite(log_probabilities).any(0), shares, 0.0)
    if not shares.sum() > 0:
        raise InputError("proportions: expected a share above 0 for a class that may occur, got none")
    counts = largest_remainders(shares, len(log_probabilities))
    cost = np.repeat(-np.maximum(log_probabilities, LEAST), counts, axis=1)  # a column per place
    return np.repeat(np.arange(len(shares)), counts)[linear_sum_assignment(cost)[1]]


def labels_of(
    logits: Float[np.ndarray, "M N"], shares: Float[np.ndarray, " N"] | None
) -> Int[np.ndarray, " M"]:
    """The labels of M queries: the best assignment if shares are given, else the most probable class."""
    return logits.argmax(1) if shares is None else best_assignment(logits, shares)


def read_shares(
    proportions: str | Path | Mapping[str, float], names: Sequence[str], mode: str
) -> Float[np.ndarray, " N"] | None:
    """What `given_shares` takes, or a table of classes with a column ``share``, as a user gives it.

    Raises:
        InputError: shares without joint mode, a table that cannot be read, or as of `given_shares`.
    """
    if isinstance(proportions, str | Path) and str(proportions) not in ("unknown", "equal"):
        table = read_class_table(proportions, known=names, needs=["share"])
        proportions = {name: row.share for name, row in table.items() if row.share is not None}
    shares = given_shares(proportions, names)
    if shares is not None and mode != Mode.JOINT:
        raise InputError(f"proportions: expected them with mode joint, got mode {mode}")
    return shares


def given_shares(proportions: Any, names: Iterable[Any]) -> Float[np.ndarray, " N"] | None:
    """The classes' shares as numbers that sum to 1; None if they are unknown.

    Args:
        proportions: "equal", or a mapping from each class to a number from 0 up; "unknown" or None: not
            known.
        names: of the classes, in order.

    Raises:
        InputError: something else, a class without a share, a share for another class, no share above 0.

    >>> given_shares({"ant": 1, "bee": 3}, ["bee", "ant"])
    array([0.75, 0.25])
    """
    names = list(names)
    if proportions is None or (isinstance(proportions, str) and proportions == "unknown"):
        return None
    if isinstance(proportions, str) and proportions == "equal":
        return np.full(len(names), 1 / max(len(names), 1))
    if not isinstance(proportions, Mapping):
        raise InputError(
            f"proportions: expected 'equal' or a mapping from class to share, got {proportions!r:.60}"
        )
    if missing := [name for name in names if proportions.get(name) is None]:
        raise InputError(
            "proportions: expected a share for each class (0: it does not occur), "
            f"got none for {missing[0]!r:.60}"
        )
    if strange := [name for name in proportions if name not in names]:
        raise InputError(f"proportions: expected shares of the classes, got one for {strange[0]!r:.60}")
    try:
        shares = np.array([proportions[name] for name in names], float)
    except (TypeError, ValueError):
        shares = np.array([np.nan])
    if not (np.isfinite(shares).all() and (shares >= 0).all() and shares.max(initial=0) > 0):
        raise InputError("proportions: expected numbers from 0 up, not all of them 0")
    shares /= shares.max()  # their sum might be larger than any number
    return shares / shares.sum()
