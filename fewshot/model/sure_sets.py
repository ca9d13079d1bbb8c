"""Sets of classes that hold the right one as often as asked for: split conformal prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from fewshot.core.errors import InputError
from fewshot.core.modes import Mode
from fewshot.core.untrusted.documents import read_json
from fewshot.graph.class_graph import WEIGHTS

LEVELS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.975, 0.99)
SHIPPED = WEIGHTS / "sure_sets.json"
LEAST = 1e-12  # of a probability, whose logarithm is taken


class Setting(NamedTuple):
    """What thresholds depend on.

    ``mode``: the name of a `Mode`; ``related``: whether there are relations; ``way``; ``shot``, the mean
    number of supports per class; ``query``, the queries per class.
    """

    mode: str
    related: bool
    way: float
    shot: float
    query: float


class Grid(NamedTuple):
    """Thresholds **[ways, shots, queries, levels]** at these ways, shots and queries per class."""

    ways: tuple[float, ...]
    shots: tuple[float, ...]
    queries: tuple[float, ...]
    thresholds: Float[np.ndarray, "ways shots queries levels"]


@dataclass(frozen=True, eq=False)
class SureSets:
    """Thresholds of sets by mode, relations, ways, shots, queries per class and level.

    Args:
        grids: by the name of a `Mode`, and whether relations are given.
        levels: how often the sets hold the right class, ascending, from 0 to 1.
    """

    grids: Mapping[tuple[str, bool], Grid]
    levels: tuple[float, ...] = LEVELS

    def threshold(self, level: Any, setting: Setting) -> float:
        """The threshold for `sure_sets`, interpolated in a grid; outside it, that of its edge.

        Linear in the logarithms of ways, shots and queries, and in the log odds of the level; more ways than
        the grid has continue it, as probabilities shrink with their number. Without a grid for the mode with
        relations it is that without, then that of the nearest mode.

        Args:
            level: from 0.5 to 0.99.
            setting: of the queries.

        Raises:
            InputError: another level.
        """
        check_level(level)
        kinds = [(setting.mode, setting.related), (setting.mode, False)]
        kinds += [(mode, False) for mode in (Mode.JOINT, Mode.INDUCTIVE)]
        grid = next(self.grids[kind] for kind in kinds if kind in self.grids)
        axes = [np.log(axis) for axis in grid[:3]] + [log_odds(np.array(self.levels))]
        place = [*np.log(setting[2:]), *log_odds(np.array([level]))]
        return interpolate(axes, grid.thresholds, place, beyond=1)

    def content(self) -> dict[str, Any]:
        """As plain values, rounded to four places."""
        grids = [
            {
                "mode": str(mode),
                "relations": related,
                "ways": list(grid.ways),
                "shots": list(grid.shots),
                "queries": list(grid.queries),
                "thresholds": np.round(grid.thresholds, 4).tolist(),
            }
            for (mode, related), grid in self.grids.items()
        ]
        return {"levels": list(self.levels), "grids": grids}

    @classmethod
    def from_content(cls, content: Any, where: str) -> SureSets:
        """From what `content` gave.

        Args:
            content: of a file, which may hold anything.
            where: the file, for messages.

        Raises:
            InputError: not such a content.
        """
        try:
            levels = _axis(content["levels"])
            grids = {}
            for given in content["grids"]:
                ways, shots, queries = (_axis(given[name]) for name in Grid._fields[:3])
                values = np.array(given["thresholds"], float)
                shape = tuple(map(len, (ways, shots, queries, levels)))
                if values.shape != shape or not np.isfinite(values).all():
                    raise ValueError(f"thresholds of shape {list(values.shape)}")
                kind = str(Mode(given["mode"])), bool(given["relations"])
                grids[kind] = Grid(ways, shots, queries, values)
            if (Mode.INDUCTIVE, False) not in grids or not 0 < levels[0] <= levels[-1] < 1:
                raise ValueError("no levels from 0 to 1, or no inductive mode")
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            reason = " ".join(str(error).split()[:20])
            raise InputError(f"{where}: not thresholds of sets of classes ({reason})") from error
        return cls(grids, levels)

    @staticmethod
    def shipped() -> SureSets:
        """Those that come with the class graph's weights."""
        return _shipped()


@cache
def _shipped() -> SureSets:
    return SureSets.from_content(read_json(SHIPPED), str(SHIPPED))


def _axis(values: Any) -> tuple[float, ...]:
    """Numbers above 0, ascending."""
    numbers = tuple(float(value) for value in values)
    if not numbers or not all(0 < a < np.inf for a in numbers) or list(numbers) != sorted(set(numbers)):
        raise ValueError("numbers that do not ascend from 0")
    return numbers


def check_level(level: Any) -> None:
    """Raise an InputError unless a level is from 0.5 to 0.99."""
    if not (isinstance(level, int | float | np.floating) and 0.5 <= level <= 0.99):
        raise InputError(f"sure: expected a share from 0.5 to 0.99, got {level!r}")


def setting(mode: str, shares: bool, shots: Int[np.ndarray, " N"], queries: int, related: bool) -> Setting:
    """The setting of a user's own queries.

    Args:
        mode: "inductive" or "joint".
        shares: whether the classes' shares are given, which makes "joint" "joint-known".
        shots: supports of each class; one without counts as one with a single support.
        queries: their number in all.
        related: whether there are relations.

    >>> setting("joint", True, np.array([1, 3]), 10, False)
    Setting(mode='joint-known', related=False, way=2, shot=2.0, query=5.0)
    """
    name = Mode.JOINT_KNOWN if mode == Mode.JOINT and shares else Mode(mode)
    shot = float(np.maximum(shots, 1).mean())
    return Setting(str(name), related, len(shots), shot, queries / len(shots))


def nonconformity(probabilities: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Minus the logarithm of a probability: how little a class conforms to the query."""
    return -np.log(np.maximum(probabilities, LEAST))


def quantiles(
    probabilities: Float[np.ndarray, "n"], levels: Sequence[float] = LEVELS
) -> Float[np.ndarray, " levels"]:
    r"""Thresholds of split conformal prediction (Vovk, Gammerman and Shafer, *Algorithmic learning in a
    random world*, 2005): of n nonconformities, the :math:`\lceil (n + 1) \ell \rceil`-th smallest.

    Args:
        probabilities: of the right classes of n queries.
        levels: how often sets shall hold the right class.

    >>> quantiles(np.exp(-np.arange(1.0, 10.0)), [0.5, 0.9])
    array([5., 9.])
    """
    ordered = np.sort(nonconformity(probabilities))
    places = np.ceil((len(ordered) + 1) * np.array(levels) - 1e-9).astype(int)
    return ordered[np.minimum(places, len(ordered)) - 1]


def sure_sets(
    probabilities: Float[np.ndarray, "M N"], threshold: float, chosen: Int[np.ndarray, " M"]
) -> Bool[np.ndarray, "M N"]:
    r"""The classes that are likely enough, and always the answer.

    .. math:: \{c : -\log p_{mc} \le t\} \cup \{\text{answer}_m\}

    Sets by one threshold for all queries are the smallest on average for how often they hold the right class
    (Sadinle, Lei and Wasserman, *Least ambiguous set-valued classifiers with bounded error levels*, 2019).

    Args:
        probabilities: of the classes.
        threshold: t, of `SureSets.threshold`.
        chosen: the answers.

    >>> p = np.array([[0.6, 0.3, 0.1], [0.05, 0.9, 0.05]])
    >>> sure_sets(p, -np.log(0.25), p.argmax(1))
    array([[ True,  True, False],
           [False,  True, False]])
    """
    found = nonconformity(probabilities) <= threshold
    found[np.arange(len(chosen)), chosen] = True
    return found


def log_odds(p: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Log p / (1 - p)."""
    return np.log(p) - np.log1p(-p)


def interpolate(
    axes: Sequence[Float[np.ndarray, " _"]],
    values: Float[np.ndarray, "..."],
    place: Sequence[float],
    beyond: int = 0,
) -> float:
    """Multilinear interpolation on a grid; outside it, the value at its edge.

    Args:
        axes: for each dimension of the grid its coordinates, ascending.
        values: on the grid.
        place: one coordinate per dimension.
        beyond: the first so many axes are continued in a straight line above their last coordinate; default
            none.

    >>> square, axis = np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([0.0, 1.0])
    >>> interpolate([axis, axis], square, [0.5, 0.5]), interpolate([axis, axis], square, [3.0, -1.0])
    (1.5, 2.0)
    >>> interpolate([axis, axis], square, [3.0, -1.0], beyond=1)
    6.0
    """
    for number, (axis, x) in enumerate(zip(axes, place, strict=True)):
        if len(axis) == 1:
            values = values[0]
            continue
        after = int(np.clip(np.searchsorted(axis, x), 1, len(axis) - 1))
        share = max((x - axis[after - 1]) / (axis[after] - axis[after - 1]), 0.0)
        share = share if number < beyond else min(share, 1.0)
        values = (1 - share) * values[after - 1] + share * values[after]
    return float(values)
