"""`fewshot.compare`: the same rows whatever the data come as, differences from any method, files."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

import fewshot
from fewshot import FeatureSet, GraphFewShot, InputError, backbones
from fewshot.data.synthetic import made_up_features, made_up_images
from fewshot.evaluation.in_memory import encoded, scored_data
from fewshot.evaluation.scores import paired_difference
from fewshot.model.preprocess import Preprocess

SMALL = {"way": 3, "shot": 2, "query": 4, "episodes": 30}


def median(support, query, **_):
    return -torch.cdist(query, support.median(2).values)


def shared(support, query, *, proportions=None, **_):
    """Prototypes with the logarithm of given shares."""
    known = proportions.clamp_min(1e-3).log()[:, None] if proportions is not None else 0.0
    return known - torch.cdist(query, support.mean(2))


shared.modes = ("joint-known",)


@pytest.fixture(scope="module")
def features() -> FeatureSet:
    return made_up_features(6, 12, seed=1)


@pytest.fixture(scope="module")
def skewed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of skewed features, in two splits."""
    file = tmp_path_factory.mktemp("features") / "f.npz"
    items = np.random.default_rng(0).lognormal(0, 1.5, (12, 20, 8))
    names, split = np.arange(12).astype(str), np.repeat(["train", "test"], 6)
    np.savez(file, features=items, wnids=names, split=split)
    return file


def test_rows_are_the_same_whatever_the_features_come_as(features: FeatureSet, tmp_path: Path) -> None:
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(0))
    order = order[features.labels[order].argsort(stable=True)]  # within the classes
    plain = FeatureSet(features.items[order], features.labels, features.class_names)
    np.savez(tmp_path / "f.npz", features=plain.items, labels=plain.labels, split=["test"] * len(plain))
    mixed = torch.arange(len(plain)).view(6, 12).T.flatten()  # classes in turn, each in its order
    arrays = plain.items[mixed].numpy(), plain.labels[mixed].tolist()
    forms = [plain, {"test": plain}, arrays, TensorDataset(plain.items[mixed], plain.labels[mixed]),
             tmp_path / "f.npz", str(tmp_path / "f.npz")]  # fmt: skip
    found = [fewshot.compare(form, [median], **SMALL) for form in forms]
    assert len({rows.fingerprint for rows in found}) == 1
    assert [[row.name for row in rows] for rows in found] == [["prototypes", "median"]] * len(forms)
    for rows in found[1:]:
        for row, first in zip(rows, found[0], strict=True):
            assert torch.equal(row.per_episode, first.per_episode)


def test_differences_are_from_the_reference_in_the_same_mode(features: FeatureSet) -> None:
    rows = fewshot.compare(features, ["class-graph", median, shared], reference="class-graph", **SMALL)
    assert [(row.name, row.mode) for row in rows] == [
        ("class-graph", "inductive"), ("class-graph", "joint"), ("class-graph", "joint-known"),
        ("median", "inductive"), ("shared", "joint-known"),
    ]  # fmt: skip
    assert [row.difference is None for row in rows] == [True] * 3 + [False] * 2
    assert rows[3].difference == paired_difference(rows[3].scores, rows[0].scores)
    assert rows[4].difference == paired_difference(rows[4].scores, rows[2].scores)
    assert rows[4].row()["reference_mode"] == "joint-known"
    mine = fewshot.compare(features, [shared], reference=median, **SMALL)
    assert [(row.name, row.row()["reference"]) for row in mine] == [("median", None), ("shared", "median")]
    with pytest.raises(InputError, match=r"reference: expected any of prototypes, .* got 'nothing'"):
        fewshot.compare(features, [shared], reference="nothing", **SMALL)
    with pytest.raises(InputError, match="reference: mixture cannot be compared here: it needs relations"):
        fewshot.compare(features, [shared], reference="mixture", **SMALL)


def test_with_the_class_graph_comes_its_transform_or_why_there_is_none(skewed: Path, features) -> None:
    rows = fewshot.compare(skewed, "class-graph", mode="inductive", **SMALL)
    assert [row.name for row in rows] == ["prototypes", "transformed", "class-graph"]
    assert rows.left_out == ()
    bare = fewshot.compare(features, "transformed,class-graph", mode="inductive", **SMALL)
    assert [row.name for row in bare] == ["prototypes", "class-graph"]
    assert bare.left_out == ("left out: transformed (no train split to fit the transform on)",)
    even = fewshot.compare({"train": features, "test": features}, "class-graph", mode="inductive", **SMALL)
    assert "not skewed" in even.left_out[0]
    with pytest.raises(InputError, match="reference: transformed cannot be compared here: no train split"):
        fewshot.compare(features, [shared], reference="transformed", **SMALL)


def test_rows_become_a_picture_a_file_and_a_table(features: FeatureSet, tmp_path: Path) -> None:
    rows = fewshot.compare(features, [median, shared], **SMALL)
    assert rows.draw(tmp_path / "methods.png", "mine").stat().st_size > 10_000
    with np.load(rows.save_episodes(tmp_path / "scores.npz")) as file:
        assert file["method"].tolist() == ["prototypes", "median", "shared"]
        assert str(file["fingerprint"]) == rows.fingerprint
        np.testing.assert_array_equal(file["accuracy"][1], rows[1].per_episode)
    table = str(rows).splitlines()
    assert len({line.index(mode) for line, mode in zip(table[1:], ("ind", "ind", "joint"), strict=True)}) == 1
    assert f"{rows[1].accuracy:.2f} ± {rows[1].ci95:.2f}" in table[2]


def test_rows_are_a_data_frame(features: FeatureSet) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    rows = fewshot.compare(features, [median, shared], **SMALL)
    frame = rows.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == list(rows[0].row())
    assert frame["method"].tolist() == ["prototypes", "median", "shared"]
    assert frame["accuracy"].tolist() == [row.row()["accuracy"] for row in rows]
    assert frame["difference"].isna().tolist() == [True, False, False]  # the reference has none from itself
    assert frame["fingerprint"].unique().tolist() == [rows.fingerprint]


def test_without_pandas_one_line_says_what_is_missing(
    features: FeatureSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = fewshot.compare(features, [median], **SMALL)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"^to_pandas: expected pandas \(pip install pandas\), got none$"):
        rows.to_pandas()


def test_images_are_encoded_by_a_model_or_a_network() -> None:
    images = made_up_images(4, 8, 16, 1, seed=0)
    torch.manual_seed(0)
    backbone = backbones.conv4(in_channels=1, width=8).eval()
    model = GraphFewShot(backbone, fewshot.ClassGraph(), preprocess=Preprocess(16, 1), precision="32-true")
    expected = model.eval().features(images).items
    dataset = [(image, int(label)) for image, label in zip(images.items, images.labels, strict=True)]

    class Images(torch.utils.data.Dataset):
        classes = images.class_names

        def __len__(self) -> int:
            return len(dataset)

        def __getitem__(self, index: int):
            return dataset[index]

    assert torch.equal(encoded(images, model).items, expected)
    assert torch.equal(encoded(Images(), model).items, expected)
    assert encoded(Images(), model).class_names == images.class_names
    floats = TensorDataset((images.items.float() / 255 - 0.5) / 0.5, images.labels)
    torch.testing.assert_close(encoded(floats, backbone, batch=5).items, expected, atol=1e-5, rtol=1e-5)
    assert scored_data(images, model).base_mean is not None
    rows = fewshot.compare(images, [median], model=model, way=2, query=3, episodes=5)
    assert rows[1].name == "median"


@pytest.mark.parametrize(
    ("data", "model", "message"),
    [
        ([1, 2], None, "data: expected a file of features or a checkpoint, a FeatureSet, .*, got list"),
        ({"testing": 1}, None, "data: expected splits named train, val, test, got 'testing'"),
        ((np.ones((3, 2)), [0, 1]), None, r"features \[n, D\] and labels \[n\], got \[3, 2\] and 2"),
        ((np.full((2, 2), np.nan), [0, 1]), None, "data: expected finite features"),
        (made_up_images(2, 2, 16, 1), None, "model: expected one that encodes images, got None"),
        (made_up_features(2, 2), torch.nn.Flatten(), "model: expected none with features"),
        ("f.npz", torch.nn.Flatten(), "model: expected none with a path"),
        (TensorDataset(torch.zeros(2, 1, 4, 4), torch.arange(2)), None, "model: expected one that encodes"),
    ],
)
def test_what_is_wrong_is_said(data, model, message: str) -> None:
    with pytest.raises(InputError, match=message):
        scored_data(data, model)
