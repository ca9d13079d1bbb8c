"""`fewshot train --STAGE null` leaves a stage of a config out."""

import json
from pathlib import Path

import pytest
from typed import fails, run

from fewshot.training import run as training


@pytest.mark.parametrize("given", [["--meta", "null"], ["--meta=null"]])
def test_a_stage_is_left_out(given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def train(config, **_):
        seen["config"] = config
        (tmp_path / "results.json").write_text(json.dumps([]))
        return tmp_path

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr("fewshot.cli.train.print_rows", lambda rows: None)
    assert run("train", "--config", "glyphs", *given, "--graph.steps", 7) == 0
    assert seen["config"].meta is None
    assert seen["config"].graph.steps == 7


def test_what_is_no_stage_or_not_null_is_refused(capsys) -> None:
    assert "unknown option --meta" in fails(capsys, "train", "--config", "glyphs", "--meta", "5")
    assert "unknown option --evaluate" in fails(capsys, "train", "--config", "glyphs", "--evaluate", "null")


def test_the_help_says_so(capsys) -> None:
    assert run("train", "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--pretrain null, --meta null, --graph null leave a stage out" in text
    assert "--left-out" not in text
