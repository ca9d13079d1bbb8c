"""The command line as a user meets it: output, files, exit status, one line for what is wrong."""

import csv
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import get_args, get_type_hints

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from fewshot import backbones
from fewshot.cli.entry import COMMANDS, main
from fewshot.cli.output import OutputFile
from fewshot.core.errors import InputError
from fewshot.graph.class_graph import ClassGraph
from fewshot.methods import catalogue
from fewshot.methods.catalogue import Method
from fewshot.methods.feat import FEAT
from fewshot.methods.prototypes import prototypes
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.preprocess import Preprocess
from fewshot.training import run as training
from fewshot.training.config import read

LETTERS = "ABCDEFGHIKLMNOPRST"


def run(*arguments):
    """The exit status of a command."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return end.code


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    """A folder per letter, each letter in three faces and six places."""
    folder = tmp_path_factory.mktemp("letters")
    for letter in LETTERS:
        for face in ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono-Bold"):
            font = ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/{face}.ttf", 22)
            for shift in range(6):
                image = Image.new("L", (32, 32))
                ImageDraw.Draw(image).text((13 + shift, 16), letter, font=font, anchor="mm", fill=255)
                (folder / letter).mkdir(exist_ok=True)
                image.save(folder / letter / f"{face}{shift}.png")
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, letters):
    torch.manual_seed(0)
    backbone = backbones.conv4(in_channels=1, width=8)
    model = GraphFewShot(backbone, ClassGraph(), preprocess=Preprocess(32, 1)).eval()
    path = tmp_path_factory.mktemp("run") / "checkpoint.pt"
    model.save(path, {"config": {"data": f"folder:{letters}"}})
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("FEWSHOT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


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


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    """A file of made-up features: three splits of 6 classes."""
    file = tmp_path_factory.mktemp("features") / "f.npz"
    rng = np.random.default_rng(0)
    items = rng.normal(0, 1, (18, 1, 16)) + rng.normal(0, 1.2, (18, 12, 16)) + 5
    names = np.array([f"n{i}" for i in range(18)])
    np.savez(file, features=items, wnids=names, split=np.repeat(["train", "val", "test"], 6))
    return file


SMALL = ["--way", 3, "--query", 5, "--episodes", 20]


def pixels(support, query, **_):
    return prototypes(support.flatten(3).float(), query.flatten(2).float())


@pytest.fixture
def methods(monkeypatch):
    """A catalogue of the yardstick, the class graph, and made-up methods that need more."""
    known = (
        *catalogue.find("prototypes,class-graph"),
        Method("pixels", "pixels", "nobody", lambda material: pixels, needs="images"),
        Method("base", "base", "nobody", lambda m: lambda s, q, **_: prototypes(s, q), needs="base"),
        Method("cheat", "cheat", "nobody", lambda m: lambda s, q, **_: prototypes(s, q - q.mean(1, True))),
    )
    monkeypatch.setattr(catalogue, "METHODS", known)


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


@pytest.fixture(scope="module")
def placed(features, tmp_path_factory):
    """The features with a path for each class."""
    file = tmp_path_factory.mktemp("placed") / "f.npz"
    paths = np.array([f"root/{c % 3}/{c}" for c in range(18)])
    with np.load(features) as content:
        np.savez(file, **content, paths=paths)
    return file


@pytest.fixture
def untrained(monkeypatch):
    """FEAT as it begins: its training takes a while."""
    monkeypatch.setattr(
        "fewshot.methods.snatcher.make_feat", lambda material: FEAT(material.train.items.shape[1]).eval()
    )


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
    assert run(*(files.get(argument, argument) for argument in arguments), *SMALL) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in shown.err
    assert shown.err.count("\n") == 1


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
    assert run("audit", tmp_path / "c.pt", "--data", f"folder:{tmp_path / 'gone'}") == 2


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
    assert run(*given) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"fewshot {message}")
    assert shown.err.count("\n") == 1


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
    assert run("data", "check", f"packed:{tmp_path / 'pack'}", "--against", "miniimagenet") == 2
    shown = capsys.readouterr()
    assert "is missing" in shown.out
    assert "differences from miniimagenet" in shown.err


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
    assert run(*arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert shown.err.startswith(message)


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
    assert run("audit", "class-graph", "--json", tmp_path / place) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert "expected a file to write, got a folder" in shown or "cannot be written" in shown


def test_an_option_may_be_given_again(monkeypatch, capsys, tmp_path):
    seen = {}
    monkeypatch.setattr("fewshot.evaluation.inputs.load_model", lambda path, without: None)

    def predict(model, support, query, **options):
        seen.update(query=query, **options)
        raise InputError("enough")

    monkeypatch.setattr("fewshot.model.predict.predict", predict)
    words = ["--query", "a", "b", "--query", "c", "--absent", "x", "--absent", "y"]
    for _ in range(2):  # the second time nothing is left of the first
        assert run("predict", "checkpoint.pt", "--support", "s", *words) == 2
        assert [path.name for path in seen["query"]] == ["a", "b", "c"]
        assert seen["absent"] == ["x", "y"]
        assert seen["present"] == []


def test_what_is_required_is_named_as_it_is_written(capsys):
    assert run("train") == 2
    assert capsys.readouterr().err == "fewshot: error: config: expected --config\n"


def test_one_episode_has_no_interval_and_json_no_nan(checkpoint, tmp_path, capsys):
    assert (
        run("evaluate", checkpoint, "--way", 2, "--query", 2, "--episodes", 1, "--json", tmp_path / "e.json")
        == 0
    )
    assert "nan" not in capsys.readouterr().out
    content = json.loads((tmp_path / "e.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert content["difference"]["ci95"] is None
