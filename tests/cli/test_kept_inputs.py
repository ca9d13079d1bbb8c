"""No command replaces what it reads, and no output another one; what is legitimate stays possible."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typed import fails, run

from fewshot.cli.files import check_kept, check_outputs, read_of_data, read_of_support
from fewshot.core.errors import InputError
from fewshot.data.loading import pack


@pytest.fixture
def here(tmp_path, monkeypatch, features, checkpoint):
    """A folder with files of every kind that commands read, in which they run."""
    monkeypatch.chdir(tmp_path)
    for name in ("ant", "bee", "cat"):
        Path("S", name).mkdir(parents=True)
        Image.new("L", (8, 8)).save(f"S/{name}/0.png")
    for file in ("S/names.csv", "pr.csv", "rel.csv"):
        Path(file).write_text("class,name,share\nant,ant,1\n")
    pack("folder:S", "P", size=8, channels=1, progress=False)
    Path("v.npz").write_bytes(features.read_bytes())
    Path("CK").write_bytes(checkpoint.read_bytes())
    np.save("w.npy", np.zeros((2, 2)))
    np.save("w.labels.npy", np.zeros(2))
    Path("mine.py").write_text("def median(support, query, **_): ...\n")
    Path("c.yaml").write_text("data: packed:P\n")
    os.symlink("S", "L")
    return tmp_path


PREDICT = ["predict", "CK", "--support", "S", "--query", "S/ant"]


@pytest.mark.parametrize(
    "words",
    [
        [*PREDICT, "--csv", "S/ant/0.png"],
        [*PREDICT, "--csv", "L/ant/0.png"],
        [*PREDICT, "--csv", "S/bee/new.png"],
        [*PREDICT, "--csv", "S/names.csv"],
        [*PREDICT, "--mode", "joint", "--proportions", "pr.csv", "--csv", "pr.csv"],
        [*PREDICT, "--relations", "rel.csv", "--csv", "./rel.csv"],
        [*PREDICT, "--without-known", "rel.csv", "--csv", "rel.csv"],
        ["graph", "CK", "--support", "S", "--out", "S/ant/0.png"],
        ["graph", "CK", "--support", "S", "--out", "S/ant/z.png"],
        ["suggest", "CK", "--support", "S", "--pool", "S/ant", "--csv", "CK"],
        ["suggest", "CK", "--support", "S", "--pool", "S/ant", "--csv", "S/names.csv"],
        ["audit", "CK", "--json", "CK"],
        ["audit", "prototypes", "--features", "v.npz", "--json", "v.npz"],
        ["audit", "mine.py:median", "--json", "mine.py"],
        ["compare", "v.npz", "--methods", "prototypes,mine.py:median", "--json", "mine.py"],
        ["compare", "w.npy", "--json", "w.labels.npy"],
        ["evaluate", "CK", "--data", "packed:P", "--json", "P/meta.json"],
        ["evaluate", "CK", "--data", "glyphs", "--json", "P/meta.json"],
        ["data", "info", "packed:P", "--json", "P/meta.json"],
        ["data", "info", "folder:S", "--json", "S/cat/0.png"],
        ["train", "--config", "c.yaml", "--json", "c.yaml"],
        ["train", "--config", "c.yaml", "--json", "P/images.npy"],
        ["compare", "v.npz", "--json", "same.png", "--out", "same.png"],
        ["train", "--config", "c.yaml", "--out", "R", "--json", "R/checkpoint.pt"],
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("here")
def test_what_is_read_is_not_replaced(words, capsys):
    before = {file: file.read_bytes() for file in Path().rglob("*") if file.is_file()}
    line = fails(capsys, *words)
    assert "expected a file to write, got" in line or "expected another file than" in line
    assert {file: file.read_bytes() for file in Path().rglob("*") if file.is_file()} == before


@pytest.mark.usefixtures("here")
def test_the_data_that_a_checkpoint_names_is_kept(letters, capsys):
    picture = next((letters / "A").iterdir())
    before = picture.read_bytes()
    line = fails(capsys, "compare", "CK", "--out", picture, "--episodes", 2, after="replaced")
    assert "got what the command reads" in line
    assert picture.read_bytes() == before


@pytest.mark.usefixtures("here")
def test_what_is_not_read_may_be_written(capsys):
    support = [*read_of_support("S"), Path("S/ant")]
    for name in ("new.csv", "S/new.csv", "S/ant/new.csv", "S/graph.png", "S.csv", "new.png"):
        for _ in range(2):  # the second time it is there
            check_outputs(Path(name), inputs=support)
            Path(name).touch()
    for name in ("P/scores.json", "S/scores.json", "S/chart.svg"):
        for _ in range(2):
            check_outputs(Path(name), inputs=[*read_of_data("folder:S"), *read_of_data("packed:P")])
            Path(name).touch()
    assert capsys.readouterr().err.count("exists and will be replaced") == 9
    check_outputs(Path("/dev/null"), Path("/dev/null"), inputs=[Path("/dev/null")])


@pytest.mark.usefixtures("here")
def test_a_link_to_an_input_is_the_input():
    os.link("CK", "hard")
    os.symlink("CK", "soft")
    for name in ("hard", "soft"):
        with pytest.raises(InputError, match="what the command reads"):
            check_kept([Path(name)], ["CK"])


def test_an_output_in_the_home_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert run("data", "info", "glyphs", "--json=~/x.json") == 0
    assert (tmp_path / "x.json").is_file()
    assert not (tmp_path / "~").exists()
    assert fails(capsys, "data", "info", "glyphs", "--json=~nobody-here/x.json") == (
        "fewshot data info: error: json: expected a path, got the home folder of an unknown user, "
        "~nobody-here/x.json"
    )
