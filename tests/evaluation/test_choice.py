"""Which methods and modes are compared, and why others are not."""

import pytest
from made_up_methods import BASE, IMAGES, JOINT

from fewshot.core.errors import InputError
from fewshot.evaluation.choice import choose, choose_modes
from fewshot.methods import catalogue
from fewshot.methods.catalogue import find


def test_choice_of_modes():
    assert choose_modes() == ("inductive", "joint", "joint-known")
    assert choose_modes("inductive", "known") == ("inductive",)
    assert choose_modes("joint") == ("joint", "joint-known")
    assert choose_modes("all", "known") == ("inductive", "joint-known")
    assert choose_modes("joint", "unknown") == ("joint",)


def test_choice_of_methods(monkeypatch):
    some = (*find("prototypes,class-graph"), BASE, IMAGES, JOINT)
    monkeypatch.setattr(catalogue, "METHODS", some)

    def names(*arguments, **options):
        return [method.name for method in choose(*arguments, **options)[0]]

    assert names(None) == ["prototypes", "class-graph", "base", "queries"]
    assert names(None, ["inductive"]) == ["prototypes", "class-graph", "base"]
    assert names("pixels,base,pixels") == ["pixels", "base"]
    [note] = choose(None)[1]
    assert note.startswith("left out: pixels (")
    assert "--methods" in note
    assert choose("pixels")[1] == []
    lacks = {"base": "no base", "images": "no images"}
    assert names(None, lacks=lacks) == ["prototypes", "class-graph", "queries"]
    assert choose(None, lacks=lacks)[1] == ["left out: base (no base)", "left out: pixels (no images)"]
    for wanted, modes, reason in (
        ("base", ["inductive"], "base cannot be compared here: no base"),
        ("prototypes,pixels", ["inductive"], "no images"),
        ("queries", ["inductive"], "its modes are joint, joint-known"),
        ("nothing", ["inductive"], "expected any of prototypes"),
    ):
        with pytest.raises(InputError, match=reason):
            choose(wanted, modes, lacks)


def test_methods_that_need_relations_are_only_compared_with_them():
    every, reasons = choose(None)
    assert not [method for method in every if method.relations == "must"]
    assert reasons == [
        "left out: maml, anil (training on images takes minutes; --methods NAME,NAME,... includes them)"
    ]
    assert {m.name for m in choose(None, relations=True)[0]} - {m.name for m in every} == {
        "known-calibration", "kernel-regression", "mixture", "zero-shot",
    }  # fmt: skip
    with pytest.raises(InputError, match="mixture cannot be compared here: it needs relations"):
        choose("mixture")
