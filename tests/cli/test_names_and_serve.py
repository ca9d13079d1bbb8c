"""`fewshot names`, and what `fewshot serve` refuses."""

from pathlib import Path

import pytest
from typed import fails, run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("heron", "crane", "red_apple", "zzz", ".hidden", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "names.csv").write_text("class,name,wnid\nother,,n02012849\n")
    return tmp_path


def test_each_name_with_what_it_was_taken_for(folder: Path, capsys) -> None:
    assert run("names", folder) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.split()}
    assert not any(name.startswith(".") for name in lines)
    assert "wading_bird/heron" in lines["heron"]
    assert "a guess, by a part of the name" in lines["red_apple"]
    assert "edible_fruit/apple" in lines["red_apple"]
    assert "not found" in lines["zzz"]
    assert "n02012849" in lines["other"]
    assert "crane" in lines["crane"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["names", "NONE"], "fewshot names: error: support: no such file or folder: NONE"),
        (["serve", "imagenet", "--host", "0.0.0.0"], "expected a file with a password for host 0.0.0.0"),
        (["serve", "imagenet", "--password", "EMPTY"], "expected a password in EMPTY, got an empty file"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, monkeypatch, capsys, arguments, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "EMPTY").write_text("\n")
    assert message in fails(capsys, *arguments)
