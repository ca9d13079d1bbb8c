"""What people call: the public names, where they were before, and their signatures."""

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

import fewshot

POSITIONAL = {
    "load": ["spec"],
    "EpisodeSampler": ["data", "way", "shot", "query", "batch", "episodes", "seed"],
    "GraphFewShot": ["backbone", "graph"],
    "GraphFewShot.load": ["path", "backbone"],
    "FewShotClassifier": ["model", "graph", "joint", "shots"],
    "FewShotClassifier.fit": ["self", "X", "y"],
    "ClassGraph.forward": ["self", "support", "query"],
    "ClassGraph.pretrained": [],
}
OPTIONS = {
    "ClassGraph.forward": {
        "joint": False,
        "support_mask": None,
        "class_mask": None,
        "query_mask": None,
        "evidence": None,
        "proportions": None,
        "prior": None,
        "neighbours": None,
    },
    "GraphFewShot.load": {"backbone": None},
    "EpisodeSampler": {"episodes": None, "seed": 0},
}
FIELDS = {
    "Episode": ["support", "query", "query_labels", "classes"],
    "graph.GraphOutput": ["logits", "prototypes", "dependencies"],
}
PATHS = {
    "fewshot.graph": ["ClassGraph", "ClassGraphConv", "GraphOutput", "PowerTransform", "PrototypeHead"],
    "fewshot.model": ["FewShotClassifier", "GraphFewShot", "Preprocess", "backbones"],
    "fewshot.data": ["FeatureSet", "LabelledSet", "PackedDataset", "Splits", "load"],
    "fewshot.episodes": ["Episode", "EpisodeSampler", "Fingerprint"],
    "fewshot.evaluation": ["Scores", "as_predict", "evaluate", "paired_difference"],
    "fewshot.training": ["Config", "train"],
    "fewshot.cli": ["main"],
    "fewshot.core": ["InputError"],
    "fewshot.backbones": ["build", "conv4", "resnet12", "wrn28_10"],
    "fewshot.functional": ["collect", "coupling", "label_posterior", "normalize"],
    "fewshot.methods.catalogue": ["METHODS"],
}


def resolve(path: str) -> Any:
    value: Any = fewshot
    for name in path.split("."):
        value = getattr(value, name)
    return value


@pytest.mark.parametrize("name", fewshot.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(fewshot, name) is not None
    assert name in dir(fewshot)


def test_public_names_are_sorted_and_complete() -> None:
    assert fewshot.__all__ == sorted(fewshot.__all__)
    handed_on = {name for name in dir(fewshot) if name[0].isupper()} - {"TYPE_CHECKING", "Aliases"}
    assert handed_on <= set(fewshot.__all__)


@pytest.mark.parametrize(("module", "name"), [(m, n) for m, names in PATHS.items() for n in names])
def test_documented_paths_resolve(module: str, name: str) -> None:
    assert getattr(importlib.import_module(module), name) is not None


def test_public_names_are_those_of_their_rooms() -> None:
    for room in ("graph", "model", "data", "episodes", "core"):
        module = importlib.import_module(f"fewshot.{room}")
        for name in set(dir(module)) & set(fewshot.__all__):
            assert getattr(module, name) is getattr(fewshot, name)


@pytest.mark.parametrize("path", POSITIONAL)
def test_what_may_be_given_by_position(path: str) -> None:
    """The first arguments, in this order; further ones may follow."""
    expected = POSITIONAL[path]
    assert list(inspect.signature(resolve(path)).parameters)[: len(expected)] == expected


@pytest.mark.parametrize("path", OPTIONS)
def test_options_have_their_defaults(path: str) -> None:
    parameters = inspect.signature(resolve(path)).parameters
    assert {name: parameters[name].default for name in OPTIONS[path]} == OPTIONS[path]


@pytest.mark.parametrize("path", FIELDS)
def test_fields_have_their_names(path: str) -> None:
    kind = resolve(path)
    names = getattr(kind, "_fields", None) or kind.__dataclass_fields__
    assert set(FIELDS[path]) <= set(names)


def test_types_are_part_of_the_package() -> None:
    assert (Path(fewshot.__file__).parent / "py.typed").is_file()


def test_input_error_is_a_value_error_of_the_package() -> None:
    assert issubclass(fewshot.InputError, ValueError)
    assert fewshot.InputError.__module__ == "fewshot"
