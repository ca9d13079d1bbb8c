"""`fewshot features`: a file of features that `fewshot compare` reads."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typed import fails, run

from fewshot import ClassGraph, FeatureSet, GraphFewShot, backbones, load
from fewshot.core.errors import InputError
from fewshot.model import ready
from fewshot.model.backbones import external
from fewshot.model.preprocess import Preprocess


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEWSHOT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three splits of three classes of five images; those of the test split are wnids."""
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    wnids = ["n01532829", "n01558993", "n01704323"]
    for split in ("train", "val", "test"):
        for name in wnids if split == "test" else [f"{split} {c}" for c in "abc"]:
            (folder / split / name).mkdir(parents=True)
            for number in range(5):
                image = Image.fromarray(rng.integers(256, size=(16, 16, 3), dtype=np.uint8))
                image.save(folder / split / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    backbone = backbones.conv4(width=8)
    model = GraphFewShot(backbone, ClassGraph(), preprocess=Preprocess(16, 3), precision="32-true")
    model.base_mean = torch.randn(backbone.out_features(16))
    path = tmp_path_factory.mktemp("run") / "checkpoint.pt"
    model.eval().save(path)
    return path


def test_all_splits_with_names_and_paths(checkpoint: Path, photographs: Path, tmp_path: Path, capsys) -> None:
    file, spec = tmp_path / "features.npz", f"folder:{photographs}"
    assert run("features", checkpoint, "--data", spec, "--out", file) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{file}\n"
    assert "test: encoding 15 images" in shown.err
    model = GraphFewShot.load(checkpoint)
    for split, images in load(spec, size=16, channels=3):
        written, expected = FeatureSet.from_npz(file, split), model.features(images)
        torch.testing.assert_close(written.items, expected.items)
        assert torch.equal(written.labels, expected.labels)
        assert written.class_names == expected.class_names
        assert any(written.paths or ()) == any(expected.paths or ())
    assert FeatureSet.from_npz(file, "test").paths[0].startswith("entity/")
    options = ["--way", 3, "--query", 2, "--episodes", 5, "--methods", "class-graph", "--json"]
    assert run("compare", file, *options, tmp_path / "c.json") == 0
    assert len(json.loads((tmp_path / "c.json").read_text())["rows"]) > 1
    assert run("features", checkpoint, "--data", spec, "--out", file) == 0
    assert f"{file} exists and will be replaced" in capsys.readouterr().err


def test_a_network_of_another_library(photographs: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    name = "torchvision:mobilenet_v3_small"

    def untrained(name: str) -> tuple[external.Outside, torch.Tensor]:  # and not downloaded by a test
        backbone = external.outside(name, frozen=True)
        backbone.input["size"] = 32
        return backbone, torch.randn(1000, 1024)

    monkeypatch.setattr(ready, "outside_with_classifier", untrained)
    arguments = ["--data", f"folder:{photographs}", "--out", tmp_path / "features.npz"]
    assert run("features", name, *arguments) == 0
    assert FeatureSet.from_npz(tmp_path / "features.npz").items.shape == (15, 1024)

    def offline(*_: object, **__: object) -> None:
        raise InputError(f"backbone.pretrained: no weights for {name} (no network)")

    monkeypatch.setattr(ready, "outside_with_classifier", offline)
    line = fails(capsys, "features", name, "--data", f"folder:{photographs}", "--out", tmp_path / "other.npz")
    assert line == f"fewshot features: error: backbone.pretrained: no weights for {name} (no network)"


OWN = """
import torch

def encode(images):
    return images.flatten(2).mean(2)

encode.input = {"size": 16, "mean": [0.0], "std": [1.0]}

class Module(torch.nn.Module):
    def forward(self, images):
        return images.mean((2, 3)) * 2

def maps(images):
    return images

def broken(images):
    return images @ torch.ones(7, 7)

def wrong(images): ...
wrong.input = {"side": 16}
"""


def test_a_network_of_ones_own(photographs: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN)
    for name, factor, offset in (("encode", 1.0, 0.0), ("Module", 4.0, -2.0)):  # 0 to 1; -2 to 2
        assert run("features", f"own.py:{name}", "--data", f"folder:{photographs}", "--out", "f.npz") == 0
        images = load(f"folder:{photographs}", size=16, channels=3).test
        means = images.items.float().mean((2, 3)) / 255
        found = FeatureSet.from_npz(tmp_path / "f.npz", "test")
        torch.testing.assert_close(found.items, factor * means + offset)
        assert found.class_names == images.class_names


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "encoed",
            "source: expected a function or class 'encoed' in own.py, got none (did you mean encode?)",
        ),
        ("maps", "maps: expected features ["),
        ("broken", "source: own.py:broken failed: RuntimeError: "),
        ("wrong", "wrong.input: expected a dictionary of any of size, channels, mean, std, got 'side' among"),
    ],
)
def test_what_is_wrong_with_a_network_of_ones_own_is_one_line(
    photographs: Path, tmp_path: Path, monkeypatch, capsys, name: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN)
    words = ["features", f"own.py:{name}", "--data", f"folder:{photographs}", "--out", "f.npz"]
    assert fails(capsys, *words, after="encoding").startswith(f"fewshot features: error: {message}")


@pytest.mark.parametrize(
    ("source", "data", "out", "message"),
    [
        ("nothing.pt", "glyphs", "f.npz", "checkpoint: expected a file that `fewshot train` wrote"),
        ("timm:no_such_network", "glyphs", "f.npz", "backbone.name: expected timm:NAME or torchvision:NAME"),
        ("CHECKPOINT", "nothing", "f.npz", "data: expected "),
        ("CHECKPOINT", "glyphs", "f.csv", "out: expected a file that ends in .npz, got 'f.csv'"),
        ("CHECKPOINT", "glyphs", "FOLDER.npz", "FOLDER.npz: expected a file to write, got a folder"),
    ],
)
def test_what_is_wrong_is_one_line(
    checkpoint: Path, tmp_path: Path, capsys, monkeypatch, source: str, data: str, out: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FOLDER.npz").mkdir()
    given = checkpoint if source == "CHECKPOINT" else source
    line = fails(capsys, "features", given, "--data", data, "--out", out)
    assert line.startswith(f"fewshot features: error: {message}")
