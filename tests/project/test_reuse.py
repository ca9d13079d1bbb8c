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


def test_features_that_point_the_same_way_gain_from_the_mean_of_a_pool(example) -> None:
    from sklearn.datasets import load_digits

    found = example("clip_features").main(*load_digits(return_X_y=True), episodes=40)
    joint = "class-graph, joint, {}"
    assert found[joint.format("mean of a pool")] > found[joint.format("nothing subtracted")] + 3


def test_a_torch_dataset_is_scored_with_a_network(example) -> None:
    found = example("torch_dataset").main(episodes=20)
    assert found["class-graph, joint"] > 80
    assert {name.split(",")[0] for name in found} == {
        "prototypes", "simpleshot", "logistic-regression", "class-graph",
    }  # fmt: skip


def test_own_methods_are_compared_and_drawn(example, tmp_path: Path) -> None:
    found = example("own_method").main(tmp_path / "methods.png", episodes=40)
    assert set(found) == {
        "prototypes, inductive", "median, inductive", "Shifted, inductive", "Shifted, joint",
        "simpleshot, inductive",
    }  # fmt: skip
    assert (tmp_path / "methods.png").is_file()


def test_wrong_labels_are_found_and_suggested_labels_help(example) -> None:
    module = example("what_to_label")
    assert [place[:2] for place in module.suspects()] == [(3, 0), (7, 5)]
    found = module.accuracies(draws=2)
    assert found["10 as suggested"] > found["10 at random"] + 3 > found["no further labels"]
