"""`fewshot compare`: rows, relations, unknown classes."""

import json

import pytest
from PIL import Image
from typed import SMALL, fails, run


@pytest.mark.usefixtures("methods")
def test_compare_features(features, tmp_path, capsys):
    files = ["--json", tmp_path / "c.json", "--out", tmp_path / "c.png"]
    assert run("compare", features, *SMALL, *files) == 0
    shown = capsys.readouterr()
    content = json.loads((tmp_path / "c.json").read_text())
    rows = content["rows"]
    assert [(row["method"], row["mode"]) for row in rows] == [
        ("prototypes", "inductive"), ("class-graph", "inductive"), ("class-graph", "joint"),
        ("class-graph", "joint-known"), ("base", "inductive"), ("cheat", "inductive"),
    ]  # fmt: skip
    assert [row["audit"] for row in rows] == [[]] * 5 + [["other queries"]]
    assert rows[4]["difference"] == rows[4]["difference_ci95"] == 0
    assert content["data"] == {"classes": 6, "items": 72, "features": 16}
    assert content["episodes"] == {
        "way": 3, "shot": 1, "query": 5, "episodes": 20, "seed": 0, "classes": "uniform",
        "queries": "balanced", "label_noise": 0.0, "fingerprint": rows[0]["fingerprint"],
    }  # fmt: skip
    graph = rows[2]
    for needed in (
        "above ProtoNet",
        f"{graph['accuracy']:.2f} ± {graph['ci95']:.2f}",
        f"{graph['difference']:+.2f} ± {graph['difference_ci95']:.2f}",
        graph["fingerprint"],
        str(tmp_path / "c.png"),
    ):
        assert needed in shown.out
    assert "scoring" not in shown.out
    assert "class-graph, joint: scoring 20 episodes" in shown.err
    assert "left out: pixels (no images without a checkpoint)" in shown.err
    assert Image.open(tmp_path / "c.png").width == 1600


@pytest.mark.usefixtures("untrained")
def test_compare_with_relations_and_unknown_classes(placed, features, tmp_path, capsys):
    files = ["--json", tmp_path / "c.json", "--out", tmp_path / "c.png"]
    chosen = ["--methods", "class-graph,known-calibration", "--mode", "inductive"]
    known = ["--relations", "taxonomy", "--belief", "1", "--unknown", 2]
    assert run("compare", placed, *SMALL, *chosen, *known, *files) == 0
    shown = capsys.readouterr()
    content = json.loads((tmp_path / "c.json").read_text())
    assert [(row["method"], row["relations"]) for row in content["rows"]] == [
        ("prototypes", "none"), ("class-graph", "none"), ("class-graph", "taxonomy"),
        ("known-calibration", "taxonomy"),
    ]  # fmt: skip
    assert content["knowledge"] == {"relations": "taxonomy", "belief": "1", "without_known": None}
    assert "unknown" not in content["episodes"]
    rules = content["unknown"]
    assert {row["fingerprint"] for row in rules} == {row["fingerprint"] for row in content["rows"]}
    assert [row["method"] for row in rules] == [
        "largest-probability", "largest-cosine", "energy", "snatcher-f", "class-graph", "class-graph",
    ]  # fmt: skip
    graph = content["rows"][2]
    for needed in (
        "With relations to known classes (taxonomy):",
        "above no relations",
        f"{graph['gain']:+.2f} ± {graph['gain_ci95']:.2f}",
        "None of these: 2 unknown classes",
        f"{rules[0]['auroc']:.2f} ± {rules[0]['auroc_ci95']:.2f}",
    ):
        assert needed in shown.out
    assert "class-graph, inductive, relations: taxonomy: scoring 20 episodes" in shown.err
    assert Image.open(tmp_path / "c.png").width == 1600
    # The rows without are those of a run without.
    assert run("compare", features, *SMALL, *chosen[2:], "--methods", "class-graph", *files[:2]) == 0
    plain = json.loads((tmp_path / "c.json").read_text())["rows"]

    def timeless(rows):
        return [{key: value for key, value in row.items() if key != "ms_per_episode"} for row in rows]

    assert timeless(plain) == timeless(content["rows"][:2])
    assert "With relations" not in capsys.readouterr().out


def test_compare_with_shuffled_relations_and_hard_classes_by_taxonomy(placed, tmp_path):
    options = ["--relations", "shuffled", "--classes", "hard:taxonomy", "--json", tmp_path / "c.json"]
    assert run("compare", placed, *SMALL, "--methods", "class-graph", *options) == 0
    rows = json.loads((tmp_path / "c.json").read_text())["rows"]
    assert [row["relations"] for row in rows] == ["none"] * 4 + ["shuffled"] * 3


@pytest.mark.usefixtures("methods")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--methods", "class-graph"], ["inductive", "inductive", "joint", "joint-known"]),
        (["--methods", "class-graph", "--mode", "inductive"], ["inductive", "inductive"]),
        (["--methods", "class-graph", "--mode", "joint"], ["inductive", "joint", "joint-known"]),
        (["--mode", "joint", "--proportions", "unknown"], ["inductive", "joint"]),
        (["--methods", "prototypes,class-graph", "--proportions", "known"],
         ["inductive", "inductive", "joint-known"]),
    ],
)  # fmt: skip
def test_compare_has_the_rows_that_are_asked_for(features, tmp_path, options, expected):
    assert run("compare", features, *SMALL, *options, "--json", tmp_path / "c.json") == 0
    rows = json.loads((tmp_path / "c.json").read_text())["rows"]
    assert rows[0]["method"] == "prototypes"
    assert [row["mode"] for row in rows] == expected


@pytest.mark.usefixtures("methods")
def test_compare_a_checkpoint(checkpoint, letters, tmp_path, capsys):
    options = [*SMALL, "--split", "val", "--json", tmp_path / "c.json"]
    assert run("compare", checkpoint, *options, "--methods", "class-graph,pixels,base") == 0
    content = json.loads((tmp_path / "c.json").read_text())
    assert "hash" in content["data"]
    assert {row["method"] for row in content["rows"]} == {"prototypes", "class-graph", "pixels", "base"}
    assert len({row["fingerprint"] for row in content["rows"]}) == 1
    assert "left out" not in capsys.readouterr().err
    # What evaluate says of the same episodes.
    both = [*SMALL, "--split", "val", "--mode", "joint", "--json", tmp_path / "e.json"]
    assert run("evaluate", checkpoint, *both) == 0
    evaluated = json.loads((tmp_path / "e.json").read_text())
    joint = next(row for row in content["rows"] if row["mode"] == "joint")
    assert {key: joint[key] for key in evaluated["rows"][0]} == evaluated["rows"][0]
    assert run("compare", checkpoint, *options, "--data", f"folder:{letters}") == 0
    assert "left out: pixels (training on images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "FEATURES", "--relations", "taxonomy"],
         "relations: expected a path in a taxonomy for each known class, got none for 'n0' (6 of 6"),
        (["compare", "FEATURES", "--classes", "hard:taxonomy"],
         'classes="hard:taxonomy": expected a path in a taxonomy for each class, got none for n12'),
        (["compare", "FEATURES", "--relations", "names"],
         "relations: expected one of 'none', 'taxonomy', 'looks', 'shuffled', got names"),
        (["compare", "FEATURES", "--belief", "2"], "belief: expected one of 'judged', '1', got 2"),
        (["compare", "FEATURES", "--methods", "mixture"],
         "methods: mixture cannot be compared here: it needs relations to known classes; --relations gives"),
        (["compare", "FEATURES", "--unknown", 4],
         "unknown: expected at most 3 (the classes besides the episode's), got 4"),
        (["compare", "PLACED", "--relations", "looks", "--split", "train"],
         "relations: expected known classes other than those that are scored, got none"),
        (["evaluate", "CHECKPOINT", "--relations", "looks"],
         "relations: expected known classes in the checkpoint, which has none"),
    ],
)  # fmt: skip
def test_what_is_missing_for_relations_is_one_line(features, placed, checkpoint, arguments, message, capsys):
    files = {"FEATURES": features, "PLACED": placed, "CHECKPOINT": checkpoint}
    assert message in fails(capsys, *(files.get(argument, argument) for argument in arguments), *SMALL)
