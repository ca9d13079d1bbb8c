"""Predictions as rows of a table, with sets, groups and the probability of none of the classes."""

from pathlib import Path

import numpy as np
import pytest

from fewshot.core.errors import InputError
from fewshot.model.prediction import answer_table, check_class_names, predictions

NAMES = ["crane", "heron", "fox"]
PATHS = {"crane": "animal/bird/crane", "heron": "animal/bird/heron", "fox": "animal/fox"}
P = np.array([[0.5, 0.4, 0.1], [0.2, 0.3, 0.5]])
FILES = [Path("1.png"), Path("2.png")]
SETS = np.array([[True, True, False], [False, True, True]])


def test_columns_are_those_that_were_asked_for() -> None:
    plain = answer_table(predictions(FILES, NAMES, P, P.argmax(1)))
    assert plain == [
        ["file", "class", "probability", "crane", "heron", "fox"],
        [FILES[0], "crane", 0.5, 0.5, 0.4, 0.1],
        [FILES[1], "fox", 0.5, 0.2, 0.3, 0.5],
    ]
    none = answer_table(predictions(FILES, NAMES, P, P.argmax(1), np.array([0.25, 0.75])))
    assert [row[6:] for row in none] == [["none_of_these"], [0.25], [0.75]]
    sets = answer_table(predictions(FILES, NAMES, P, P.argmax(1), sets=SETS, paths=PATHS))
    assert [row[6:] for row in sets] == [
        ["sure_set", "group"],
        ["crane;heron", "animal/bird"],
        ["fox;heron", "animal"],
    ]
    both = answer_table(predictions(FILES, NAMES, P, P.argmax(1), np.zeros(2), SETS))
    assert [row[6:] for row in both] == [
        ["none_of_these", "sure_set", "group"],
        [0.0, "crane;heron", ""],
        [0.0, "fox;heron", ""],
    ]


def test_a_set_of_one_class_is_its_own_group_and_an_unknown_path_is_in_none() -> None:
    sets = np.array([[True, False, False], [False, True, True]])
    found = predictions(FILES, NAMES, P, P.argmax(1), sets=sets, paths={"crane": PATHS["crane"], "fox": ""})
    assert [one.group for one in found] == ["animal/bird/crane", ""]


def test_the_answer_need_not_be_the_most_probable_class() -> None:
    [first, _] = predictions(FILES, NAMES, P, np.array([1, 2]), sets=SETS)
    assert (first.name, first.probability, first.sure_set) == ("heron", 0.4, ("crane", "heron"))


@pytest.mark.parametrize("name", ["file", "class", "probability", "none_of_these", "sure_set", "group"])
def test_classes_that_are_called_like_columns_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"^support: expected .*, got '{name}'; rename its folder"):
        check_class_names(["ant", name])


def test_marks_between_names_are_refused_in_sets() -> None:
    check_class_names(["ant;bee"])
    with pytest.raises(InputError, match=r"^support: expected classes without ';' in their names"):
        check_class_names(["ant;bee"], sets=True)
