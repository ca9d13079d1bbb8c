"""The command line as a user meets it: output, files, exit status, one line for what is wrong."""

import csv
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from typed import LETTERS, fails, run

from fewshot.cli.entry import COMMANDS
from fewshot.cli.files import OutputFile
from fewshot.core.errors import InputError
from fewshot.training import run as training
from fewshot.training.config import read


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["train", "--help"],
        ["evaluate", "--help"],
        ["compare", "--help"],
        ["audit", "--help"],
        ["data", "check", "--help"],
        ["evaluate", "--no"],
    ],
)
def test_help_and_wrong_options_import_nothing_heavy(arguments):
    code = (
        "import sys\n"
        "from fewshot.cli.entry import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numpy', 'matplotlib', 'sklearn', 'lightning', 'networkx', 'PIL', 'pandas'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_module_runs_as_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "fewshot", "evaluate"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("fewshot: error: ")
    assert done.stdout == ""


def test_predict_and_graph_on_folders_of_letters(checkpoint, letters, tmp_path, capsys):
    support, queries = tmp_path / "support", []
    for letter in "ABC":
        (support / letter).mkdir(parents=True)
        for file in sorted((letters / letter).iterdir())[:3]:
            (support / letter / file.name).write_bytes(file.read_bytes())
        queries.append(sorted((letters / letter).iterdir())[3])
    table = tmp_path / "out" / "p.csv"
    arguments = [
        "--support",
        support,
        "--query",
        *queries,
        letters / "A",
        "--absent",
        "B",
        "--present",
        "A",
        "C",
    ]
    assert run("predict", checkpoint, *arguments, "--csv", table) == 0
    shown = capsys.readouterr().out
    rows = list(csv.DictReader(table.open()))
    assert len(rows) == 3 + 17  # of the letter A one file was named already
    assert [row["file"] for row in rows[:3]] == [str(file) for file in queries]
    assert all(float(row["B"]) == 0 for row in rows)
    assert {row["class"] for row in rows} <= {"A", "C"}
    assert all(line.split()[0] in shown for line in map(str, queries))
    more = ["--mode", "joint", "--proportions", "equal", "--none", "--sure", 0.8, "--csv", table]
    assert run("predict", checkpoint, *arguments[:-5], *more) == 0
    shown, rows = capsys.readouterr().out, list(csv.DictReader(table.open()))
    assert list(rows[0]) == ["file", "class", "probability", *"ABC", "none_of_these", "sure_set", "group"]
    assert sorted(Counter(row["class"] for row in rows).values()) == [6, 7, 7]
    assert all(row["class"] in row["sure_set"].split(";") for row in rows)
    assert all(0 < float(row["none_of_these"]) < 1 for row in rows)
    assert "sure_set" in shown
    for name in ("g.png", "g.html", "g.graphml", "g.json"):
        assert run("graph", checkpoint, "--support", support, "--out", tmp_path / name) == 0
        assert capsys.readouterr().out.strip() == str(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 500


def test_data_commands(letters, tmp_path, capsys):
    assert (
        run("data", "pack", f"folder:{letters}", "--out", tmp_path / "pack", "--size", 16, "--channels", 1)
        == 0
    )
    assert run("data", "info", f"packed:{tmp_path / 'pack'}", "--json", tmp_path / "i.json") == 0
    content = json.loads((tmp_path / "i.json").read_text())
    assert (content["size"], content["channels"]) == (16, 1)
    assert sum(split["classes"] for split in content["splits"].values()) == len(LETTERS)
    assert run("data", "check", f"packed:{tmp_path / 'pack'}") == 0
    assert "intact; there is no benchmark to compare it with" in capsys.readouterr().out
    words = ["data", "check", f"packed:{tmp_path / 'pack'}", "--against", "miniimagenet"]
    assert "differences from miniimagenet" in fails(capsys, *words, printed="is missing")


def test_train_passes_its_options_on(tmp_path, monkeypatch, capsys):
    rows = [
        {"method": "prototypes", "mode": "inductive", "way": 5, "shot": 1, "accuracy": 50.0, "ci95": 1.0,
         "episodes": 9, "fingerprint": "abc", "ece": 0.1},
    ]  # fmt: skip
    seen = {}

    def fake(config, **options):
        seen.update(options, config=config)
        (tmp_path / "results.json").write_text(json.dumps(rows))
        return tmp_path

    monkeypatch.setattr(training, "train", fake)
    given = ["--seed", 3, "--data", "glyphs", "--meta.steps", 7, "--evaluate.ways", "[5,6]", "--resume"]
    more = ["--devices", 2, "--logger", "csv,wandb", "--out", tmp_path, "--json", tmp_path / "copy.json"]
    assert run("train", "--config", "glyphs", *given, *more) == 0
    overrides = {"seed": 3, "data": "glyphs", "meta.steps": 7, "evaluate.ways": [5, 6]}
    assert seen.pop("config") == read("glyphs", overrides)
    assert seen == {"out": tmp_path, "resume": True, "devices": 2, "loggers": ["csv", "wandb"]}
    shown = capsys.readouterr().out
    assert "50.00 ± 1.00" in shown
    assert str(tmp_path / "results.json") in shown
    assert json.loads((tmp_path / "copy.json").read_text()) == rows


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "fewshot: error: expected one of train,evaluate,compare,audit,predict"),
        (["trian"],
         "fewshot: error: expected one of 'train', 'evaluate', 'compare', 'audit', 'predict', 'suggest', "
         "'serve', 'graph', 'export', 'features', 'names', 'env', 'data', got 'trian'"),
        (["evaluate", "x", "--way", "y"], "fewshot evaluate: error: way: expected int, got y"),
        (["evaluate", "x", "--mode", "z"],
         "fewshot evaluate: error: mode: expected one of 'inductive', 'joint', got z"),
        (["train", "--config", "glyphs", "--meta.step", "5"],
         "fewshot train: error: unknown option --meta.step (did you mean --meta.steps?)"),
        (["train", "--config", "glyphs", "--meta.steps", "x"],
         "fewshot train: error: meta.steps: expected a whole number, got 'x'"),
        (["evaluate", "/no/file"],
         "fewshot evaluate: error: checkpoint: expected a file that `fewshot train` wrote, got /no/file"),
        (["graph", "x", "--support", "y", "--out", "z.gif"],
         "fewshot graph: error: out: expected a file that ends in .png, .html, .graphml, .json, got 'z.gif'"),
        (["graph", "x", "--support", "y", "--out", "z.html/"],
         "fewshot graph: error: out: expected a file to write, got 'z.html/', a folder"),
        (["compare", "x", "--episodes-out=z/."],
         "fewshot compare: error: episodes-out: expected a file to write, got 'z/.', a folder"),
        (["predict", "x", "--support", "y", "--query", "z", "--sure", "much"],
         "fewshot predict: error: sure: expected float, got much"),
        (["data", "info", "nothing"],
         "fewshot data info: error: data: expected "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(arguments, message, capsys):
    assert fails(capsys, *arguments).startswith(message)


def test_every_file_to_write_is_an_option_that_knows_folders():
    def with_type(kind):
        return [
            name
            for command in [*COMMANDS.values(), *COMMANDS["data"].values()]
            if callable(command)
            for name, hint in get_type_hints(command).items()
            if kind in (hint, *get_args(hint))
        ]

    assert Counter(with_type(OutputFile)) == {"json": 6, "out": 3, "csv": 2, "episodes_out": 1}
    read = {"features", "folder", "password", "pool", "query", "support", "without_known"}
    folders = {"out", "to"}  # of a run, an export, a pack, downloads
    assert set(with_type(Path)) - read == folders


def test_a_reader_that_goes_away_is_no_error(letters, tmp_path):
    assert run("data", "pack", f"folder:{letters}", "--out", tmp_path / "pack", "--size", 16) == 0
    command = [sys.executable, "-m", "fewshot", "data", "info", f"packed:{tmp_path / 'pack'}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.parametrize("place", ["", "file/a.json"])
def test_a_path_that_cannot_be_written_is_refused_before_the_work(tmp_path, capsys, monkeypatch, place):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(
        "fewshot.evaluation.subjects.open_subject", lambda *_: pytest.fail("the work has begun")
    )
    line = fails(capsys, "audit", "class-graph", "--json", tmp_path / place)
    assert "expected a file to write, got a folder" in line or "cannot be written" in line


def test_an_option_may_be_given_again(monkeypatch, capsys, tmp_path):
    seen = {}
    monkeypatch.setattr("fewshot.evaluation.inputs.load_model", lambda path, without: None)

    def predict(model, support, query, **options):
        seen.update(query=query, **options)
        raise InputError("enough")

    monkeypatch.setattr("fewshot.model.predict.predict", predict)
    words = ["--query", "a", "b", "--query", "c", "--absent", "x", "--absent", "y"]
    for _ in range(2):  # the second time nothing is left of the first
        fails(capsys, "predict", "checkpoint.pt", "--support", "s", *words)
        assert [path.name for path in seen["query"]] == ["a", "b", "c"]
        assert seen["absent"] == ["x", "y"]
        assert seen["present"] == []


def test_what_is_required_is_named_as_it_is_written(capsys):
    assert fails(capsys, "train") == "fewshot: error: config: expected --config"
