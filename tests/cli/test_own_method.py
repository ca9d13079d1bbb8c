"""`fewshot compare` and `fewshot audit` with a method from a file, any reference, accuracies per episode."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typed import fails, run

from fewshot.evaluation.scores import interval95
from fewshot.methods import catalogue

MINE = """
import torch


def median(support, query, **_):
    return -torch.cdist(query, support.median(2).values)


def peek(support, query, **_):
    return -torch.cdist(query - query.mean(1, keepdim=True), support.mean(2))


def broken(support, query, **_):
    return missing
"""
SMALL = ["--way", 3, "--query", 5, "--episodes", 20]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Skewed features in three splits, and a file with methods."""
    folder = tmp_path_factory.mktemp("own")
    items = np.random.default_rng(0).lognormal(0, 1.5, (12, 20, 8))
    split = np.repeat(["train", "test"], 6)
    np.savez(folder / "f.npz", features=items, wnids=np.arange(12).astype(str), split=split)
    (folder / "mine.py").write_text(MINE)
    return folder


@pytest.fixture(autouse=True)
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def test_one_file_in_the_table_the_picture_and_the_file_of_episodes(folder: Path, capsys) -> None:
    files = ["--json", "c.json", "--out", "c.svg", "--episodes-out", "e.npz"]
    named = ["--methods", "class-graph,mine.py:median", "--reference", "class-graph", "--mode", "inductive"]
    assert run("compare", "f.npz", *SMALL, *named, *files) == 0
    shown = capsys.readouterr().out
    rows = json.loads((folder / "c.json").read_text())["rows"]
    assert [(row["method"], row["reference"]) for row in rows] == [
        ("class-graph", None), ("transformed", "class-graph"), ("median", "class-graph"),
    ]  # fmt: skip
    assert "above class graph" in shown
    assert (folder / "c.svg").stat().st_size > 10_000
    with np.load("e.npz") as file:
        accuracy, methods = file["accuracy"], file["method"].tolist()
        assert str(file["fingerprint"]) == rows[0]["fingerprint"]
    assert methods == ["class-graph", "transformed", "median"]
    above, half = interval95(torch.from_numpy(accuracy[2] - accuracy[0]))
    assert (rows[2]["difference"], rows[2]["difference_ci95"]) == (round(above, 3), round(half, 3))


def test_what_it_must_not_see_is_found(capsys) -> None:
    assert run("audit", "mine.py:median") == 0
    assert run("audit", "mine.py:peek") == 1
    assert "other queries" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "f.npz", "--methods", "mine.py:broken"],
         "fewshot compare: error: broken failed: NameError: name 'missing' is not defined (mine.py, line"),
        (["compare", "f.npz", "--methods", "mine.py:medain"],
         "fewshot compare: error: methods: expected a function or class 'medain' in mine.py, got none (did"),
        (["audit", "mine.py:medain"], "fewshot audit: error: methods: expected a function or class 'medain'"),
        (["compare", "f.npz", "--reference", "none"],
         "fewshot compare: error: reference: expected any of prototypes, "),
        (["compare", "f.npz", "--episodes-out", "e.csv"],
         "fewshot compare: error: episodes_out: expected a file that ends in .npz, got 'e.csv'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(arguments, message: str, capsys) -> None:
    assert fails(capsys, *arguments, after="scoring").startswith(message)


def test_the_help_lists_every_method(capsys) -> None:
    assert run("compare", "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    for method in catalogue.METHODS:
        assert method.name in text
