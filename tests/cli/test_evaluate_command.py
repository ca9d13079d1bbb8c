"""`fewshot evaluate`: rows, episodes, unknown classes."""

import json

import pytest
from typed import LETTERS, SMALL, run


def test_evaluate(checkpoint, tmp_path, capsys):
    options = ["--way", 3, "--query", 5, "--episodes", 40, "--split", "train"]
    assert run("evaluate", checkpoint, *options, "--json", tmp_path / "e.json") == 0
    shown = capsys.readouterr().out
    content = json.loads((tmp_path / "e.json").read_text())
    graph, yardstick = content["rows"]
    assert (graph["method"], yardstick["method"]) == ("class-graph", "prototypes")
    assert graph["fingerprint"] == yardstick["fingerprint"]
    assert content["difference"]["accuracy"] == pytest.approx(
        graph["accuracy"] - yardstick["accuracy"], abs=2e-3
    )
    for needed in (
        graph["fingerprint"],
        f"{graph['accuracy']:.2f} ± {graph['ci95']:.2f}",
        "Accuracy per class",
    ):
        assert needed in shown
    assert set(content["per_class"]) <= set(LETTERS)
    # The same again, asked of all queries together: other figures on the very same episodes.
    joint = ["--mode", "joint", "--proportions", "known", "--json", tmp_path / "j.json"]
    assert run("evaluate", checkpoint, *options, *joint) == 0
    other = json.loads((tmp_path / "j.json").read_text())["rows"]
    assert other[0]["mode"] == "joint-known"
    assert other[1] == yardstick


def test_every_episode_option_changes_the_episodes(checkpoint, tmp_path):
    plain = ["--way", 3, "--shot", 5, "--query", 2, "--episodes", 5, "--split", "train"]
    prints = set()
    for options in (
        [],
        ["--seed", 1],
        ["--queries", "dirichlet:1"],
        ["--label-noise", 0.4],
        ["--classes", "hard"],
    ):
        assert run("evaluate", checkpoint, *plain, *options, "--json", tmp_path / "e.json") == 0
        prints.add(json.loads((tmp_path / "e.json").read_text())["rows"][0]["fingerprint"])
    assert len(prints) == 5


@pytest.mark.usefixtures("untrained")
def test_evaluate_unknown_classes(checkpoint, tmp_path, capsys):
    options = [*SMALL, "--way", 2, "--unknown", 1, "--json", tmp_path / "e.json"]
    assert run("evaluate", checkpoint, *options) == 0
    content = json.loads((tmp_path / "e.json").read_text())
    assert len({row["fingerprint"] for row in (*content["rows"], *content["unknown"])}) == 1
    assert [(row["method"], row["mode"]) for row in content["unknown"]] == [
        ("largest-probability", "inductive"), ("largest-cosine", "inductive"), ("energy", "inductive"),
        ("snatcher-f", "inductive"), ("ostim", "joint"), ("eol", "joint"), ("eol-transformed", "joint"),
        ("class-graph", "inductive"), ("class-graph", "joint"),
    ]  # fmt: skip
    shown = capsys.readouterr()
    for word in ("rule", "AUROC", "AUPR", "FPR at 95 % TPR", "accuracy of the known", "OSTIM"):
        assert word in shown.out
    assert "snatcher-f: learning" in shown.err
    # Its accuracy of the known is that of the episodes without strangers, as each query stands alone.
    accuracy = next(row["accuracy"] for row in content["unknown"] if row["method"] == "class-graph")
    assert accuracy == content["rows"][0]["accuracy"]


def test_one_episode_has_no_interval_and_json_no_nan(checkpoint, tmp_path, capsys):
    assert (
        run("evaluate", checkpoint, "--way", 2, "--query", 2, "--episodes", 1, "--json", tmp_path / "e.json")
        == 0
    )
    assert "nan" not in capsys.readouterr().out
    content = json.loads((tmp_path / "e.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert content["difference"]["ci95"] is None
