"""Thresholds of sets: split conformal quantiles, their interpolation, and what a file may hold."""

import json
from itertools import pairwise, product

import numpy as np
import pytest

from fewshot.core.errors import InputError
from fewshot.core.modes import Mode
from fewshot.model.calibration import Calibration
from fewshot.model.sure_sets import (
    LEVELS,
    Grid,
    Setting,
    SureSets,
    interpolate,
    quantiles,
    setting,
    sure_sets,
)


def made_up(rows: int = 400, classes: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are right, and labels drawn by them."""
    generator = np.random.default_rng(seed)
    p = generator.dirichlet(np.full(classes, 0.4), size=rows)
    return p, np.array([generator.choice(classes, p=row) for row in p])


def table(*kinds: tuple[str, bool]) -> SureSets:
    """Thresholds 10·log2(ways) + log2(shots) + 0.1·log2(queries) + the level's place."""
    ways, shots, queries = (2.0, 8.0), (1.0, 4.0), (1.0, 16.0)
    values = [
        10 * np.log2(n) + np.log2(k) + 0.1 * np.log2(q) + 0.01 * i
        for n, k, q, i in product(ways, shots, queries, range(len(LEVELS)))
    ]
    grid = Grid(ways, shots, queries, np.reshape(values, (2, 2, 2, -1)))
    return SureSets(dict.fromkeys(kinds or [("inductive", False)], grid))


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
def test_sets_hold_the_right_class_as_often_as_asked_for(level: float) -> None:
    p, labels = made_up()
    rows = np.arange(len(p))
    (threshold,) = quantiles(p[rows, labels], [level])
    conforming = -np.log(p) <= threshold
    assert conforming[rows, labels].sum() == np.ceil(level * (len(p) + 1))  # an exact number on its own data
    others, theirs = made_up(4000, seed=1)
    sets = sure_sets(others, threshold, others.argmax(1))
    assert sets[np.arange(4000), theirs].mean() > level - 0.04
    assert (sets.sum(1) >= 1).all()


def test_no_other_sets_of_that_size_hold_as_much_probability() -> None:
    p, _ = made_up(50)
    sets = sure_sets(p, -np.log(0.3), p.argmax(1))
    bare = p >= 0.3
    assert np.array_equal(sets[bare.any(1)], bare[bare.any(1)])
    largest = np.sort(p[bare.any(1)].ravel())[::-1][: bare.sum()].sum()
    assert p[bare].sum() == pytest.approx(largest)


def test_the_answer_is_always_in_its_set() -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.4, 0.35, 0.25]])
    assert sure_sets(p, 0.0, np.array([2, 1])).tolist() == [[False, False, True], [False, True, False]]


def test_few_answers_give_the_largest_threshold() -> None:
    assert quantiles(np.array([0.5, 0.1]), [0.5, 0.99]).tolist() == pytest.approx([-np.log(0.1)] * 2)


def test_thresholds_are_linear_in_logarithms_between_the_cells_and_constant_beyond() -> None:
    found = table()

    def at(way: float, shot: float, query: float, level: float = 0.9) -> float:
        return found.threshold(level, Setting("inductive", False, way, shot, query))

    assert at(2, 1, 1) == pytest.approx(10.05)
    assert at(4, 2, 4) == pytest.approx(20 + 1 + 0.2 + 0.05)
    assert at(4, 50, 0.2) == pytest.approx(20 + 2 + 0 + 0.05)  # the edges of shots and queries
    assert at(32, 1, 1) == pytest.approx(50.05)  # more ways continue
    assert at(2, 1, 1, 0.95) == pytest.approx(10.06)
    assert at(2, 1, 1, 0.9) < at(2, 1, 1, 0.92) < at(2, 1, 1, 0.95)
    assert at(2, 1, 1, 0.5) == pytest.approx(10.0)


def test_interpolation_gives_the_grid_back() -> None:
    generator = np.random.default_rng(0)
    axes = [np.sort(generator.random(size)) for size in (3, 1, 4)]
    values = generator.random((3, 1, 4))
    for i, k in product(range(3), range(4)):
        place = [axes[0][i], 9.0, axes[2][k]]
        assert interpolate(axes, values, place) == pytest.approx(values[i, 0, k])


def test_a_grid_that_is_missing_is_replaced() -> None:
    whole = table(("inductive", False), ("joint", False), ("joint", True))
    whole.grids["joint", False].thresholds[:] = 7.0  # one array for all
    assert whole.threshold(0.9, Setting("joint-known", True, 2, 1, 1)) == 7.0
    alone = table()
    for mode, related in product(Mode, (False, True)):
        assert alone.threshold(0.9, Setting(mode, related, 2, 1, 1)) == pytest.approx(10.05)


@pytest.mark.parametrize("level", [0.4, 0.999, float("nan"), "most", None])
def test_levels_are_from_a_half_to_99_percent(level: object) -> None:
    with pytest.raises(InputError, match=r"^sure: expected a share from 0.5 to 0.99, got"):
        table().threshold(level, Setting("joint", False, 2, 1, 1))  # type: ignore[arg-type]


def test_a_file_gives_them_back() -> None:
    found = table(("inductive", False), ("joint", True))
    again = SureSets.from_content(json.loads(json.dumps(found.content())), "file")
    assert again.content() == found.content()
    here = Setting("joint", True, 3, 2, 5)
    assert again.threshold(0.87, here) == pytest.approx(found.threshold(0.87, here), abs=1e-3)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.pop("levels"),
        lambda c: c.update(grids=3),
        lambda c: c.update(grids=[]),
        lambda c: c["grids"][0].update(mode="both"),
        lambda c: c["grids"][0].update(ways=[5, 2]),
        lambda c: c["grids"][0].update(shots=[0, 1]),
        lambda c: c["grids"][0].update(thresholds=[1.0]),
        lambda c: c["grids"][0]["thresholds"][0][0][0].__setitem__(0, float("nan")),
        lambda c: c.update(levels=[0.5, *c["levels"][1:-1], 1.5]),
    ],
)
def test_what_holds_no_thresholds_is_refused(change) -> None:
    content = table().content()
    change(content)
    with pytest.raises(InputError, match=r"^c\.pt: not thresholds of sets of classes \("):
        SureSets.from_content(content, "c.pt")


def test_the_setting_of_queries() -> None:
    shots = np.array([1, 0, 5])
    assert setting("inductive", False, shots, 6, True) == ("inductive", True, 3, 7 / 3, 2.0)
    assert setting("joint", False, shots, 6, False).mode == "joint"
    assert setting("joint", True, shots, 6, False).mode == "joint-known"


def test_classes_that_are_ruled_out_do_not_count() -> None:
    p = np.array([[0.9, 0.0, 0.06, 0.04], [0.5, 0.0, 0.3, 0.2]])
    options = {"mode": "inductive", "shares": False, "related": False}
    calibration = Calibration(table())
    sets = calibration.sets(p, p.argmax(1), 0.9, shots=np.array([1, 9, 1, 1]), **options)
    without = calibration.sets(p[:, [0, 2, 3]], p.argmax(1), 0.9, shots=np.ones(3, int), **options)
    assert np.array_equal(sets[:, [0, 2, 3]], without)


def test_shipped_thresholds_ascend_with_the_level_and_the_ways() -> None:
    found = SureSets.shipped()
    assert set(found.grids) == set(product(Mode, (False, True)))
    for grid in found.grids.values():
        assert all((np.diff(grid.thresholds, axis=3) >= 0).ravel())
        for fewer, more in pairwise(grid.thresholds):
            assert (fewer[..., 5:] < more[..., 5:]).all()  # 90 % and more


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "calibration: expected a mapping, got list"),
        ({"prototypes": [1.0]}, "calibration: expected 3 finite numbers"),
        ({"prototypes": [1.0, 2.0, float("inf")]}, "calibration: expected 3 finite numbers"),
        ({"sure_sets": 3}, "not thresholds of sets of classes"),
    ],
)
def test_a_calibration_that_is_none_is_refused(content: object, message: str) -> None:
    with pytest.raises(InputError, match=f"^c.pt: {message}"):
        Calibration.from_content(content, "c.pt")


def test_a_calibration_from_a_file() -> None:
    assert Calibration.from_content(None, "c.pt").sure_sets is None
    kept = Calibration(table(), (1.0, 0.5, 0.25))
    again = Calibration.from_content(kept.content(), "c.pt")
    assert again.content() == kept.content()
    assert Calibration().thresholds is SureSets.shipped()
    assert kept.thresholds is kept.sure_sets
