"""Drawing indices: uniform by chi-square tests over whole sample spaces, and exact sums."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare, kstest

from fewshot.episodes.draw import (
    LEAST_ALPHA,
    MOST_ALPHA,
    dirichlet,
    draw_classes,
    hand_out,
    pick,
    shuffle,
    subsets,
    swap_labels,
)

ROWS = 20_000


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def equally_often(rows: np.ndarray, outcomes: int) -> bool:
    counts = np.unique(rows, axis=0, return_counts=True)[1]
    return len(counts) == outcomes and (outcomes == 1 or chisquare(counts).pvalue > 1e-3)


@pytest.mark.parametrize(("population", "size", "outcomes"), [(5, 2, 10), (6, 3, 20), (4, 4, 1), (7, 1, 7)])
def test_every_subset_is_equally_likely(
    rng: np.random.Generator, population: int, size: int, outcomes: int
) -> None:
    drawn = subsets(rng, np.full(ROWS, population), np.full(ROWS, size), size)
    assert (np.diff(np.sort(drawn, 1)) > 0).all()
    assert equally_often(np.sort(drawn, 1), outcomes)


def test_rows_of_different_sizes(rng: np.random.Generator) -> None:
    population, size = np.array([[3, 9], [50, 0]]), np.array([[3, 4], [6, 0]])
    drawn = subsets(rng, population, size, 7)
    assert drawn.shape == (2, 2, 7)
    assert ((drawn >= 0).sum(-1) == size).all()
    assert (drawn < population[..., None]).all()


def test_a_small_row_is_uniform_next_to_a_large_one(rng: np.random.Generator) -> None:
    population, size = np.tile([5, 40], (ROWS, 1)), np.tile([2, 12], (ROWS, 1))
    drawn = subsets(rng, population, size, 12)
    assert equally_often(np.sort(drawn[:, 0, :2], 1), 10)


def test_shuffle_puts_the_valid_first_in_every_order(rng: np.random.Generator) -> None:
    order = shuffle(rng, np.tile([True, False, True, True], (ROWS, 1)))
    assert (order[:, 3] == 1).all()
    assert equally_often(order[:, :3], 6)


def test_pick_is_uniform(rng: np.random.Generator) -> None:
    assert equally_often(pick(rng, (3, 8, 5), ROWS)[:, None], 3)


def test_classes_in_every_order(rng: np.random.Generator) -> None:
    assert equally_often(draw_classes(rng, np.full(ROWS, 2), 2, 4, None), 12)


def test_hard_classes_come_from_the_anchor_s_neighbours(rng: np.random.Generator) -> None:
    """On a ring of 40 with the 8 next ones as neighbours, 3 classes span at most 9."""
    ring = (np.arange(40)[:, None] + np.arange(1, 13)) % 40
    drawn = draw_classes(rng, np.full(ROWS, 3), 3, 40, ring)
    gaps = np.diff(np.sort(drawn, 1), axis=1, append=np.sort(drawn, 1)[:, :1] + 40)
    assert (gaps.max(1) >= 32).all()
    assert equally_often(drawn[:, :1], 40)
    assert equally_often(drawn[:, 2:], 40)  # the anchor's place is random


# --- unequal queries


@pytest.mark.parametrize("alpha", [0.3, 1.0, 4.0])
def test_a_dirichlet_share_is_beta_distributed(rng: np.random.Generator, alpha: float) -> None:
    """One of n shares has the marginal Beta(A, (n−1)·A)."""
    shares = dirichlet(rng, alpha, np.tile([True, True, False, True], (4000, 1)))
    np.testing.assert_allclose(shares.sum(1), 1)
    assert (shares[:, 2] == 0).all()
    assert kstest(shares[:, 0], "beta", args=(alpha, 2 * alpha)).pvalue > 1e-3


def test_a_tiny_alpha_gives_all_to_one_class(rng: np.random.Generator) -> None:
    shares = dirichlet(rng, 1e-4, np.ones((500, 5), dtype=bool))
    assert (shares.max(1) > 0.99).mean() > 0.95
    assert equally_often(shares.argmax(1)[:, None], 5)


@pytest.mark.parametrize("alpha", [LEAST_ALPHA, MOST_ALPHA])
@pytest.mark.filterwarnings("error")
def test_shares_are_finite_to_the_limits(rng: np.random.Generator, alpha: float) -> None:
    shares = dirichlet(rng, alpha, np.tile([True, True, False, True], (2000, 1)))
    np.testing.assert_allclose(shares.sum(1), 1)


def test_hand_out_sums_exactly_and_keeps_the_limits(rng: np.random.Generator) -> None:
    shares = rng.dirichlet(np.full(6, 0.4), 2000)
    room = rng.integers(0, 30, (2000, 6))
    total = (rng.random(2000) * (room.sum(1) + 1)).astype(np.int64)
    counts = hand_out(total, shares, room)
    np.testing.assert_array_equal(counts.sum(1), total)
    assert (counts >= 0).all()
    assert (counts <= room).all()


def test_hand_out_with_room_is_off_by_less_than_one(rng: np.random.Generator) -> None:
    shares = rng.dirichlet(np.full(5, 1.0), 500)
    counts = hand_out(np.full(500, 75), shares, np.full((500, 5), 100))
    assert (np.abs(counts - 75 * shares) < 1).all()


def test_hand_out_passes_on_what_does_not_fit_even_to_shares_of_zero() -> None:
    counts = hand_out(np.array([10]), np.array([[1.0, 0.0, 0.0]]), np.array([[4, 3, 9]]))
    assert counts.tolist() == [[4, 3, 3]]


# --- label noise


def test_swapped_labels_by_hand(rng: np.random.Generator) -> None:
    """Two classes, one support each: a swap; nothing moves in the second episode."""
    support, labels = np.array([[[10], [20]]] * 2), np.array([[[0], [1]]] * 2)
    moved, true = swap_labels(rng, support, labels, np.array([1, 0]))
    assert moved.tolist() == [[[20], [10]], [[10], [20]]]
    assert true.tolist() == [[[1], [0]], [[0], [1]]]


def test_swaps_are_every_cycle_of_the_existing_classes(rng: np.random.Generator) -> None:
    labels = np.tile(np.array([[0], [1], [2], [3], [-1]]), (ROWS, 1, 1))
    _, true = swap_labels(rng, labels, labels, np.ones(ROWS, dtype=np.int64))
    assert (true[:, 4] == -1).all()
    assert equally_often(true[:, :4, 0], 6)  # (4 − 1)! cycles of length 4
