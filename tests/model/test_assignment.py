"""Labels with given shares: against all assignments there are, and what shares may look like."""

from itertools import product

import numpy as np
import pytest

from fewshot.core.errors import InputError
from fewshot.model.assignment import best_assignment, given_shares, largest_remainders


@pytest.mark.parametrize("seed", range(4))
def test_no_other_assignment_is_more_likely(seed: int) -> None:
    generator = np.random.default_rng(seed)
    p = np.log(generator.dirichlet(np.ones(3), size=6))
    shares = generator.dirichlet(np.ones(3))
    counts = largest_remainders(shares, 6)
    every = [y for y in product(range(3), repeat=6) if (np.bincount(y, minlength=3) == counts).all()]
    best = max(p[np.arange(6), list(y)].sum() for y in every)
    found = best_assignment(p, shares)
    assert np.bincount(found, minlength=3).tolist() == counts.tolist()
    assert p[np.arange(6), found].sum() == pytest.approx(best)


def test_offsets_of_queries_and_of_classes_change_nothing() -> None:
    generator = np.random.default_rng(0)
    logits, shares = generator.normal(size=(12, 4)), np.ones(4)
    usual = best_assignment(logits, shares)
    moved = logits + generator.normal(size=(12, 1)) + generator.normal(size=(1, 4))
    assert best_assignment(moved, shares).tolist() == usual.tolist()
    assert best_assignment(logits, 7 * shares).tolist() == usual.tolist()


def test_remainders_sum_to_the_total_and_leave_absent_classes_alone() -> None:
    for seed in range(200):
        generator = np.random.default_rng(seed)
        shares = generator.random(7) * (generator.random(7) < 0.6)
        if shares.sum() == 0:
            continue
        total = int(generator.integers(0, 40))
        counts = largest_remainders(shares, total)
        assert counts.sum() == total
        assert (counts[shares == 0] == 0).all()
        assert (np.abs(counts - total * shares / shares.sum()) < 1).all()
    assert largest_remainders(np.full(3, 1 / 3), 9).tolist() == [3, 3, 3]


def test_a_class_that_is_ruled_out_gets_no_query() -> None:
    logits = np.zeros((4, 3))
    logits[:, 1] = -np.inf
    assert np.bincount(best_assignment(logits, np.ones(3)), minlength=3).tolist() == [2, 0, 2]
    logits[0, 2] = -np.inf  # of one query alone
    assert best_assignment(logits, np.ones(3))[0] == 0
    with pytest.raises(InputError, match="expected a share above 0 for a class that may occur"):
        best_assignment(logits, np.array([0.0, 1.0, 0.0]))


def test_too_many_queries_are_refused() -> None:
    with pytest.raises(InputError, match="at most 10,000 queries to assign together, got 10,001"):
        best_assignment(np.zeros((10_001, 2)), np.ones(2))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("half", "expected 'equal' or a mapping from class to share, got 'half'"),
        ([0.5, 0.5], r"expected 'equal' or a mapping from class to share, got \[0.5, 0.5\]"),
        ({"ant": 1}, r"for each class \(0: it does not occur\), got none for 'bee'"),
        ({"ant": 1, "bee": None}, "got none for 'bee'"),
        ({"ant": 1, "bee": 1, "cat": 1}, "expected shares of the classes, got one for 'cat'"),
        ({"ant": 0, "bee": 0}, "expected numbers from 0 up, not all of them 0"),
        ({"ant": -1, "bee": 2}, "expected numbers from 0 up"),
        ({"ant": float("nan"), "bee": 2}, "expected numbers from 0 up"),
        ({"ant": "many", "bee": 2}, "expected numbers from 0 up"),
    ],
)
def test_what_are_no_shares_is_refused(given, message: str) -> None:
    with pytest.raises(InputError, match=f"^proportions: .*{message}"):
        given_shares(given, ["ant", "bee"])


def test_shares() -> None:
    assert given_shares(None, "ab") is given_shares("unknown", "ab") is None
    assert given_shares("equal", "abcd").tolist() == [0.25] * 4
    assert given_shares({"a": 1e308, "b": 1e308, "c": 0}, "abc").tolist() == [0.5, 0.5, 0]
    assert given_shares({"a": 5e-324, "b": 5e-324}, "ab").tolist() == [0.5, 0.5]
