"""Drawing the indices of episodes: pure functions over many episodes at once, all of them on the CPU.

Nothing here loops over episodes, classes or images. The only loops are over the positions within one class's
draw (Floyd's algorithm) and, for unequal queries, over rounds of distributing the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from numpy import ndarray

from fewshot.core.errors import InputError
from fewshot.core.numerals import number

LEAST_ALPHA, MOST_ALPHA = 1e-6, 1e6  # of Dirichlet distributions: beyond, shares are 0/0 or all the same


@dataclass(frozen=True)
class Scheme:
    """What to draw, checked and in arrays.

    Args:
        counts: images of each class, ``[classes]``; the images of a class are adjacent.
        ways, shots: the values from which an episode's way and shot are drawn, each equally likely.
        query: queries per class; N·query in all.
        alpha: parameter of the symmetric Dirichlet distribution of the query shares; None: equal shares.
        noise: share of each class's supports that are images of other classes.
        neighbours: ``[classes, near]``, each class's nearest others, nearest first, with `near` at least
            max(8, 2·(N−1)), or all others; None: classes are drawn uniformly.
    """

    counts: Int[ndarray, "classes"]
    ways: tuple[int, ...]
    shots: tuple[int, ...]
    query: int
    alpha: float | None = None
    noise: float = 0.0
    neighbours: Int[ndarray, "classes near"] | None = None


def at_least(least: int, name: str, value: int) -> int:
    """Return the value; raise InputError unless it is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InputError(f"{name}: expected a whole number of at least {least}, got {value}")
    return value


def dirichlet_parameter(queries: str) -> float | None:
    """A in the query scheme "dirichlet:A"; None for "balanced".

    >>> dirichlet_parameter("dirichlet:2")
    2.0
    """
    if queries == "balanced":
        return None
    scheme, _, parameter = queries.partition(":")
    alpha = number(parameter)
    if scheme != "dirichlet" or not LEAST_ALPHA <= alpha <= MOST_ALPHA:
        raise InputError(
            f'queries: expected "balanced" or "dirichlet:A" with A from {LEAST_ALPHA:f} to '
            f"{MOST_ALPHA:,.0f}, got {queries!r:.60}"
        )
    return alpha


def check_scheme(scheme: Scheme, names: Sequence[str]) -> None:
    """Raise InputError if a value is out of range or the data are too few for the largest episode."""
    if not scheme.ways or not scheme.shots:
        raise InputError("way, shot: expected one number or several, got no number")
    way = max(at_least(2, "way", way) for way in scheme.ways)
    shot = max(at_least(1, "shot", shot) for shot in scheme.shots)
    query = at_least(1, "query", scheme.query)
    if not 0 <= scheme.noise < 1:
        raise InputError(f"label_noise: expected from 0 to under 1, got {scheme.noise}")
    if way > len(names):
        raise InputError(f"way: expected at most {len(names)} (the classes of the data), got {way}")

    poorest = int(scheme.counts.argmin())
    has, needs, what = scheme.counts[poorest], shot, f"{shot} supports"
    if scheme.alpha is None:
        needs, what = shot + query, f"{what} + {query} queries"
    if has < needs:
        raise InputError(f"class {names[poorest]!r}: expected at least {needs} images ({what}), got {has}")
    if scheme.alpha is not None:
        left = (np.sort(scheme.counts) - shot).cumsum()  # without supports, in the smallest 1, 2, … classes
        for n in scheme.ways:
            if left[n - 1] < n * query:
                raise InputError(
                    f"queries: expected at least {n * query} images besides the supports in any {n} "
                    f"classes, got {left[n - 1]} in the smallest"
                )


class Draw(NamedTuple):
    """The indices of B episodes; smaller episodes are padded with −1."""

    classes: Int[ndarray, "B N"]
    support: Int[ndarray, "B N K"]
    support_labels: Int[ndarray, "B N K"]
    query: Int[ndarray, "B M"]
    query_labels: Int[ndarray, "B M"]
    proportions: Float[ndarray, "B N"]


def draw(rng: np.random.Generator, scheme: Scheme, episodes: int) -> Draw:
    """Draw `episodes` episodes.

    Earlier draws do not depend on later ones: the classes are the same for any shot, and label noise moves
    supports of the same episodes that are drawn without it.

    >>> scheme = Scheme(counts=np.array([20, 30, 40]), ways=(2,), shots=(1,), query=3)
    >>> draw(np.random.default_rng(0), scheme, episodes=4).query.shape
    (4, 6)
    """
    N, K = max(scheme.ways), max(scheme.shots)
    M = N * scheme.query
    way = pick(rng, scheme.ways, episodes)  # [B]
    shot = pick(rng, scheme.shots, episodes)  # [B]
    classes = draw_classes(rng, way, N, len(scheme.counts), scheme.neighbours)
    there = classes >= 0  # [B,N]

    images = np.where(there, scheme.counts[classes], 0)
    supports = there * shot[:, None]
    if scheme.alpha is None:
        queries = there * scheme.query
    else:
        shares = dirichlet(rng, scheme.alpha, there)
        queries = hand_out(way * scheme.query, shares, images - supports)

    # The images of a class in random order: first its supports, then its queries.
    drawn = subsets(rng, images, supports + queries, K + int(queries.max()))  # [B,N,T]
    drawn = taken(drawn, shuffle(rng, drawn >= 0))
    first = np.cumsum(scheme.counts) - scheme.counts
    drawn = np.where(drawn >= 0, drawn + first[classes][..., None], -1)
    position = np.arange(drawn.shape[-1])
    is_support = position < supports[..., None]
    support = np.where(is_support, drawn, -1)[..., :K]

    # All queries of the episode in random order, [B,N·T] -> [B,M].
    is_query = (~is_support & (drawn >= 0)).reshape(episodes, -1)
    order = shuffle(rng, is_query)[:, :M]
    valid = np.arange(M) < is_query.sum(1, keepdims=True)
    query = np.where(valid, taken(drawn.reshape(episodes, -1), order), -1)
    query_labels = np.where(valid, order // len(position), -1)

    support_labels = np.where(support >= 0, np.arange(N)[:, None], -1)
    wrong = np.rint(scheme.noise * shot).astype(np.int64)
    if wrong.any():
        support, support_labels = swap_labels(rng, support, support_labels, wrong)
    proportions = queries / queries.sum(1, keepdims=True)
    return Draw(classes, support, support_labels, query, query_labels, proportions.astype(np.float32))


def pick(rng: np.random.Generator, values: tuple[int, ...], size: int) -> Int[ndarray, "size"]:
    """`size` of the values, each equally likely."""
    return np.array(values, dtype=np.int64)[(rng.random(size) * len(values)).astype(np.int64)]


def subsets(
    rng: np.random.Generator, population: Int[ndarray, "*rows"], size: Int[ndarray, "*rows"], width: int
) -> Int[ndarray, "*rows width"]:
    """For each row a uniform subset of `size` of the numbers 0..population−1, then −1 up to `width`.

    Robert Floyd's algorithm (Bentley, *Programming Pearls*, CACM 30(9), 1987), all rows at once: for
    j = population−size, …, population−1 draw t in 0..j, and add t, or j where t is in already. Every subset
    is equally likely; the order within a subset is not random.

    >>> subsets(np.random.default_rng(0), np.array([3, 1]), np.array([3, 0]), width=3).tolist()
    [[0, 1, 2], [-1, -1, -1]]
    """
    step = np.arange(width).reshape(-1, *[1] * population.ndim)
    last = population - size + step  # [width, *rows]: the numbers of one step are adjacent in memory
    drawn = (rng.random(last.shape) * (last + 1)).astype(np.int64)
    for i in range(1, width):
        clash = (drawn[:i] == drawn[i]).any(0)
        np.copyto(drawn[i], last[i], where=clash)
    return np.moveaxis(np.where(step < size, drawn, -1), 0, -1)


def shuffle(rng: np.random.Generator, valid: Bool[ndarray, "*rows n"]) -> Int[ndarray, "*rows n"]:
    """Positions in an order that puts the valid ones first; each order of these is equally likely."""
    return np.argsort(np.where(valid, rng.random(valid.shape), 2.0), -1)


def taken(values: Shaped[ndarray, "*rows n"], order: Int[ndarray, "*rows m"]) -> Shaped[ndarray, "*rows m"]:
    """``np.take_along_axis`` over the last axis, in a third of the time for many short rows.

    >>> taken(np.array([[5, 6], [7, 8]]), np.array([[1, 0], [1, 1]])).tolist()
    [[6, 5], [8, 8]]
    """
    starts = np.arange(0, values.size, values.shape[-1]).reshape(*values.shape[:-1], 1)
    return values.reshape(-1).take(starts + order)


def draw_classes(
    rng: np.random.Generator,
    way: Int[ndarray, "B"],
    width: int,
    classes: int,
    neighbours: Int[ndarray, "classes near"] | None,
) -> Int[ndarray, "B width"]:
    """`way` distinct classes per episode in random order, then −1 up to `width`.

    With `neighbours`, an anchor is drawn uniformly and the others from its max(8, 2·(way−1)) nearest.
    """
    if neighbours is None:
        drawn = subsets(rng, np.full_like(way, classes), way, width)
    else:
        anchor = (rng.random(way.shape) * classes).astype(np.int64)[:, None]
        near = np.minimum(np.maximum(8, 2 * (way - 1)), classes - 1)
        others = subsets(rng, near, way - 1, width - 1)
        others = np.where(others >= 0, neighbours[anchor, others], -1)
        drawn = np.concatenate([anchor, others], 1)
    return taken(drawn, shuffle(rng, drawn >= 0))


def dirichlet(rng: np.random.Generator, alpha: float, there: Bool[ndarray, "B N"]) -> Float[ndarray, "B N"]:
    """Shares ~ Dirichlet(alpha·1) over the existing classes; 0 for the others.

    Gamma variates, normalised; in logarithms, as G(a) = G(a+1)·U^(1/a), so that a small alpha does not
    underflow to 0/0.
    """
    log_gamma = (
        np.log(rng.standard_gamma(alpha + 1, there.shape)) + np.log1p(-rng.random(there.shape)) / alpha
    )
    log_gamma = np.where(there, log_gamma, -np.inf)
    gamma = np.exp(log_gamma - log_gamma.max(1, keepdims=True))
    return gamma / gamma.sum(1, keepdims=True)


def hand_out(
    total: Int[ndarray, "B"], shares: Float[ndarray, "B N"], room: Int[ndarray, "B N"]
) -> Int[ndarray, "B N"]:
    """Whole numbers close to total·shares that sum to `total` exactly and do not exceed `room`.

    They are rounded down, and the rest goes to the largest remainders; what exceeds a class's room goes to
    the classes with room left, again by their shares. `room` must hold `total`.

    >>> shares = np.array([[0.5, 0.3, 0.2]])
    >>> hand_out(np.array([9]), shares, np.array([[9, 9, 9]])).tolist()
    [[4, 3, 2]]
    >>> hand_out(np.array([9]), shares, np.array([[2, 9, 9]])).tolist()
    [[2, 4, 3]]
    """
    counts = np.zeros_like(room)
    left = total.copy()
    while left.any():  # each round completes a row or fills one of its classes
        fits = counts < room
        weight = np.where(fits, np.maximum(shares, 1e-12), 0)
        ideal = left[:, None] * weight / np.maximum(weight.sum(1, keepdims=True), 1e-12)
        lower = np.floor(ideal).astype(np.int64)
        remainder = np.where(fits, ideal - lower, -1.0)
        rank = np.argsort(np.argsort(-remainder, 1, kind="stable"), 1)
        lower += rank < (left - lower.sum(1))[:, None]
        given = np.minimum(lower, room - counts)
        counts += given
        left -= given.sum(1)
    return counts


def swap_labels(
    rng: np.random.Generator,
    support: Int[ndarray, "B N K"],
    labels: Int[ndarray, "B N K"],
    wrong: Int[ndarray, "B"],
) -> tuple[Int[ndarray, "B N K"], Int[ndarray, "B N K"]]:
    """Move `wrong` supports of each class, at random positions, to other classes of the episode.

    The first chosen support of each class moves along a random cycle through all classes, the second along
    another, and so on. So each class keeps K supports, exactly `wrong` of them are images of other classes,
    and each other class is equally likely; no further images are needed, and none occurs twice.
    """
    B, N, K = support.shape
    slots = int(wrong.max())
    position = shuffle(rng, labels >= 0)[..., :slots]  # [B,N,slots]
    there = labels[:, :, 0] >= 0
    tour = shuffle(rng, np.broadcast_to(there[:, None], (B, slots, N)))  # [B,slots,N]
    step = np.arange(N)
    following = np.where(there.sum(1)[:, None] > step, (step + 1) % there.sum(1)[:, None], step)[:, None]
    source = np.empty_like(tour)
    np.put_along_axis(source, tour, np.take_along_axis(tour, np.broadcast_to(following, tour.shape), 2), 2)
    source = source.transpose(0, 2, 1)  # [B,N,slots]: the class from which the image comes
    origin = source * K + np.take_along_axis(position, source, 1)
    moves = np.arange(slots) < wrong[:, None, None]

    def moved(values: Shaped[ndarray, "B N K"]) -> Shaped[ndarray, "B N K"]:
        coming = np.take_along_axis(values.reshape(B, N * K), origin.reshape(B, -1), 1).reshape(origin.shape)
        result = values.copy()
        staying = np.take_along_axis(values, position, 2)
        np.put_along_axis(result, position, np.where(moves, coming, staying), 2)
        return result

    return moved(support), moved(labels)
