"""`fewshot audit`, and what can be neither audited nor compared."""

import json

import pytest
from typed import fails, run

from fewshot.model.few_shot import GraphFewShot


@pytest.mark.usefixtures("methods")
def test_audit(features, checkpoint, tmp_path, capsys):
    assert run("audit", "class-graph", "--json", tmp_path / "a.json") == 0
    content = json.loads((tmp_path / "a.json").read_text())
    modes = ["inductive", "joint", "joint-known"]
    assert content["failed"] == {name: [] for mode in modes for name in (mode, f"{mode}, relations")}
    assert {row["name"] for row in content["rows"] if row["passed"] is None} == {"other queries"}
    assert "skipped for joint methods" in capsys.readouterr().out
    assert run("audit", "base", "--features", features, "--seed", 1) == 0
    assert capsys.readouterr().err == "base: learning\n"
    assert run("audit", "cheat", "--json", tmp_path / "a.json") == 1
    shown = capsys.readouterr()
    assert "FAILED" in shown.out
    assert "predictions changed" in shown.out
    assert shown.err == f"{tmp_path / 'a.json'} exists and will be replaced\n"
    assert json.loads((tmp_path / "a.json").read_text())["failed"] == {"inductive": ["other queries"]}
    assert run("audit", checkpoint) == 0
    shown = capsys.readouterr()
    assert [mode in shown.out for mode in ("inductive", "joint", "joint-known")] == [True] * 3
    assert shown.err == ""


def test_audit_of_a_checkpoint_whose_data_is_gone(checkpoint, tmp_path, capsys):
    model = GraphFewShot.load(checkpoint)
    model.save(tmp_path / "c.pt", {"config": {"data": f"folder:{tmp_path / 'gone'}"}})
    assert run("audit", tmp_path / "c.pt") == 0
    shown = capsys.readouterr().err
    assert shown.startswith("made-up images are used")
    assert shown.count("\n") == 1
    fails(capsys, "audit", tmp_path / "c.pt", "--data", f"folder:{tmp_path / 'gone'}")


@pytest.mark.usefixtures("methods")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "FEATURES", "--methods", "class-graph,nothing"],
         "compare: error: methods: expected any of prototypes, class-graph, pixels, base, cheat, got 'no"),
        (["compare", "FEATURES", "--methods", "pixels"],
         "compare: error: methods: pixels cannot be compared here: no images without a checkpoint"),
        (["compare", "FEATURES", "--split", "train", "--methods", "base"],
         "compare: error: methods: base cannot be compared here: the train split"),
        (["compare", "FEATURES", "--methods", "cheat", "--mode", "joint"],
         "compare: error: methods: cheat cannot be compared here: its modes are inductive"),
        (["compare", "FEATURES", "--mode", "both"],
         "compare: error: mode: expected one of 'all', 'inductive', 'joint', got both"),
        (["compare", "FEATURES", "--way", 7],
         "compare: error: way: expected at most 6 (the classes of the data), got 7"),
        (["compare", "FEATURES", "--data", "glyphs"],
         "compare: error: data: expected none with a file of features, got 'glyphs'"),
        (["compare", "FEATURES", "--out", "c.gif"],
         "compare: error: out: expected a file that ends in .png, .svg, .pdf, got 'c.gif'"),
        (["compare", "nothing.npz"], "compare: error: nothing.npz: no such file"),
        (["compare", "nothing.pt"], "compare: error: checkpoint: expected a file that `fewshot train` wrote"),
        (["audit", "nothing"],
         "audit: error: subject: expected prototypes, class-graph, pixels, base, cheat or a checkpoint"),
        (["audit", "pixels"], "audit: error: subject: pixels cannot be audited here: it works on images"),
        (["audit", "prototypes", "--data", "glyphs"], "audit: error: data: expected none with a method"),
        (["audit", "FEATURES"], "audit: error: "),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_or_audited_is_one_line(features, arguments, message, capsys):
    given = [features if argument == "FEATURES" else argument for argument in arguments]
    assert fails(capsys, *given).startswith(f"fewshot {message}")
