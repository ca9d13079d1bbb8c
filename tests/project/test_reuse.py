"""The examples of the graph in other models run, are short, and show what they claim."""

import importlib
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "experiments" / "reuse"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(FOLDER)
    yield importlib.import_module
    for file in FOLDER.glob("*.py"):
        sys.modules.pop(file.stem, None)


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.py")), ids=lambda file: file.stem)
def test_is_short(file: Path) -> None:
    assert len(file.read_text().splitlines()) < 80


def test_behind_a_torchvision_network_joint_beats_prototypes(example) -> None:
    found = example("torchvision_backbone").main(images=500)
    assert found["class graph, joint"] > found["prototypes"] + 2
    assert abs(found["class graph, inductive"] - found["prototypes"]) < 2


def test_layer_of_a_pyg_model_helps_if_few_classes_are_known(example) -> None:
    found = example("pyg_layer").main(graphs=2)
    assert found["with ClassGraphConv"] > found["without messages"] + 5


def test_last_layer_of_a_classifier_learns_and_is_above_a_linear_one(example) -> None:
    found = example("last_layer").main(steps=250)
    losses, accuracy = found["class graph"]
    assert losses[-1] < losses[0] / 10
    assert accuracy > found["linear"][1]


def test_tables_and_text_are_classified_as_well_as_by_logistic_regression(example) -> None:
    for scores in example("tables_and_text").main(draws=3).values():
        assert scores["class graph"] > scores["logistic regression"] - 6


def test_descriptions_as_prior_bring_dependencies_closer_to_similarity(example) -> None:
    found = example("descriptions").main(episodes=10)
    assert found["with prior"] > found["without prior"] + 0.1
