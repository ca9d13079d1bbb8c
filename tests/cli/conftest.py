"""What the commands work on: letters, a checkpoint, features, methods."""

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from typed import LETTERS

from fewshot import backbones
from fewshot.graph.class_graph import ClassGraph
from fewshot.methods import catalogue
from fewshot.methods.catalogue import Method
from fewshot.methods.feat import FEAT
from fewshot.methods.prototypes import prototypes
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.preprocess import Preprocess


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


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    """A file of made-up features: three splits of 6 classes."""
    file = tmp_path_factory.mktemp("features") / "f.npz"
    rng = np.random.default_rng(0)
    items = rng.normal(0, 1, (18, 1, 16)) + rng.normal(0, 1.2, (18, 12, 16)) + 5
    names = np.array([f"n{i}" for i in range(18)])
    np.savez(file, features=items, wnids=names, split=np.repeat(["train", "val", "test"], 6))
    return file


@pytest.fixture(scope="module")
def placed(features, tmp_path_factory):
    """The features with a path for each class."""
    file = tmp_path_factory.mktemp("placed") / "f.npz"
    paths = np.array([f"root/{c % 3}/{c}" for c in range(18)])
    with np.load(features) as content:
        np.savez(file, **content, paths=paths)
    return file


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


@pytest.fixture
def untrained(monkeypatch):
    """FEAT as it begins: its training takes a while."""
    monkeypatch.setattr(
        "fewshot.methods.snatcher.make_feat", lambda material: FEAT(material.train.items.shape[1]).eval()
    )
