"""Evidence on classes and on groups of classes."""

import pytest
import torch

from fewshot.core.errors import InputError
from fewshot.core.wordnet import wordnet
from fewshot.model.evidence import classes_below, evidence

PATHS = {
    "bird": ("animal", "mammal", "bird_monkey"),  # a class that is called like a group
    "crow": ("animal", "bird", "crow"),
    "gull": ("animal", "bird", "gull"),
    "saw": ("tool", "saw"),
    "thing": (),
}
NAMES = list(PATHS)


def values(found):
    return ["?" if x != x else int(x) for x in found.classes[0].tolist()]


def test_a_group_that_is_absent_is_every_class_below_it():
    assert values(evidence(NAMES, absent=["mammal"], paths=PATHS)) == [0, "?", "?", "?", "?"]
    assert values(evidence(NAMES, absent=["Tools"], paths=PATHS)) == ["?", "?", "?", 0, "?"]


def test_a_class_of_the_same_name_comes_first():
    found = evidence(NAMES, absent=["bird"], paths=PATHS)
    assert values(found) == [0, "?", "?", "?", "?"]


def test_a_group_that_is_present_has_at_least_one_class():
    found = evidence(NAMES, absent=["crow"], present=["animal"], paths=PATHS)
    assert values(found) == ["?", 0, "?", "?", "?"]
    assert found.groups == ((0, 2),)
    settled = found.settled(torch.tensor([[0.1, 0.0, 0.6, 0.3, 0.0]]))
    assert settled[0].nan_to_num(-1).tolist() == [-1, 0, 1, -1, -1]
    # One of them is known to be there already: nothing more follows.
    both = evidence(NAMES, present=["animal", "crow"], paths=PATHS)
    assert torch.equal(both.settled(torch.rand(3, 5)).nan_to_num(-1), both.classes.nan_to_num(-1))


def test_a_group_of_one_class_is_that_class():
    found = evidence(NAMES, present=["tool"], paths=PATHS)
    assert values(found) == ["?", "?", "?", 1, "?"]
    assert found.groups == ()


def test_synonyms_of_wordnet():
    words = wordnet()
    dog, cat = (words.path(words.senses(name)[0]) for name in ("poodle", "tabby"))
    assert classes_below("domestic dogs", [dog, cat]) == [0]


@pytest.mark.parametrize(
    ("absent", "present", "message"),
    [
        (
            ["horse"],
            [],
            "absent: expected one of bird, crow, gull, saw, thing, or a group of them, got 'horse'",
        ),
        ([], ["zzz"], "present: expected one of .*, got 'zzz'"),
        (["crow"], ["crow"], "absent: class 'crow' is given as both absent and present"),
        (["animal"], ["mammal"], "absent: group 'mammal' is given as both absent and present"),
        (["animal", "tool", "thing"], [], "absent: expected at least one class to remain, got all of them"),
    ],
)
def test_what_is_wrong_is_named(absent, present, message):
    with pytest.raises(InputError, match=message):
        evidence(NAMES, absent, present, PATHS)


def test_without_paths_there_are_no_groups():
    with pytest.raises(InputError, match="absent: expected one of crow, gull, got 'animal'"):
        evidence(["crow", "gull"], absent=["animal"])
    assert evidence(["crow"]) is None
