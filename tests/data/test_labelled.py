"""Labelled sets, and features from .npz and .npy files."""

import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from fewshot.core.errors import InputError
from fewshot.data.labelled import FeatureSet, LabelledSet


def test_counts_are_of_each_class_also_of_the_last_empty_one() -> None:
    data = LabelledSet(torch.zeros(5, 2), torch.tensor([0, 0, 0, 1, 1]), ("a", "b", "c"))
    assert data.counts.tolist() == [3, 2, 0]
    assert (len(data), data.num_classes) == (5, 3)


@pytest.mark.parametrize(
    ("labels", "names", "more", "message"),
    [
        ([0, 1, 0], ("a", "b"), {}, "labels: expected ascending"),
        ([0, 1, 2], ("a", "b"), {}, r"labels: expected 0\.\.1 \(classes\), got 0\.\.2"),
        ([0, 1, 1], ("a", "b"), {"taxonomy": ("x",)}, r"taxonomy: expected one per class \(2\), got 1"),
    ],
)
def test_what_does_not_fit_is_named(
    labels: list[int], names: tuple[str, ...], more: dict, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        LabelledSet(torch.zeros(3, 2), torch.tensor(labels), names, **more)


def test_npz_by_class_and_by_item_give_the_same_set(tmp_path: Path) -> None:
    features = np.random.default_rng(0).normal(size=(4, 3, 5)).astype(np.float16)
    split = np.array(["train", "test", "test", "train"])
    np.savez(tmp_path / "class.npz", features=features, wnids=np.array(["n4", "n1", "n2", "n3"]), split=split)
    order = np.random.default_rng(1).permutation(12)
    np.savez(
        tmp_path / "item.npz",
        features=features.reshape(12, 5)[order],
        labels=np.array(["n4", "n1", "n2", "n3"]).repeat(3)[order],
        split=split.repeat(3)[order],
    )
    by_class = FeatureSet.from_npz(tmp_path / "class.npz")
    by_item = FeatureSet.from_npz(tmp_path / "item.npz")
    assert by_class.class_names == by_item.class_names == ("n1", "n2")
    assert by_class.labels.tolist() == by_item.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert by_class.features.dtype == torch.float32
    torch.testing.assert_close(by_class.features, torch.from_numpy(features[1:3].reshape(6, 5)).float())
    for label in (0, 1):  # the same rows of each class, in whatever order they came
        ours, theirs = (data.features[data.labels == label] for data in (by_class, by_item))
        assert sorted(ours.tolist()) == sorted(theirs.tolist())


def test_texts_as_bytes_are_texts(tmp_path: Path) -> None:
    arrays = {
        "features": np.eye(3),
        "labels": np.array(["dög", "cat", "dög"]),
        "split": np.array(["test"] * 3),
    }
    as_bytes = {name: np.char.encode(arrays[name], "utf-8") for name in ("labels", "split")}
    np.savez(tmp_path / "f.npz", **(arrays | as_bytes))
    assert FeatureSet.from_npz(tmp_path / "f.npz").class_names == ("cat", "dög")
    np.savez(tmp_path / "f.npz", **(arrays | {"labels": np.array([b"\xff", b"a", b"b"])}))
    with pytest.raises(InputError, match=r"f\.npz: expected labels in UTF-8 \("):
        FeatureSet.from_npz(tmp_path / "f.npz")


def test_mean_of_the_train_split_is_the_base_mean(tmp_path: Path) -> None:
    features = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    np.savez(tmp_path / "f.npz", features=features, wnids=["a", "b"], split=["train", "test"])
    assert FeatureSet.from_npz(tmp_path / "f.npz", "train").mean().tolist() == [2.0, 3.0]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros(3)}, r"expected features \[classes, images, D\] or \[n, D\]"),
        (
            {"features": np.zeros((2, 3)), "split": ["test"] * 2},
            r"labels: expected shape \(2,\).*got nothing",
        ),
        (
            {"features": np.zeros((2, 3)), "labels": [0, 1], "split": ["train"] * 2},
            "split: expected one of train, got 'test'",
        ),
        ({"features": np.full((2, 3), np.nan), "labels": [0, 1], "split": ["test"] * 2}, "expected finite"),
        ({"features": np.array([[{}]], dtype=object)}, "expected an .npz of plain arrays"),
    ],
)
def test_features_files_that_do_not_fit_are_refused(tmp_path: Path, arrays: dict, message: str) -> None:
    np.savez(tmp_path / "f.npz", **arrays)
    with pytest.raises(InputError, match=message) as caught:
        FeatureSet.from_npz(tmp_path / "f.npz")
    assert "f.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not an npz", b"PK\x03\x04 half"])
def test_what_is_no_npz_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"f\.npz"):
        FeatureSet.from_npz(tmp_path / "f.npz")


def test_an_npy_holds_one_split(tmp_path: Path) -> None:
    features = np.random.default_rng(0).normal(size=(3, 4, 5))
    np.save(tmp_path / "classes.npy", features)
    np.save(tmp_path / "items.npy", features.reshape(12, 5)[::-1])
    np.save(tmp_path / "items.labels.npy", np.repeat([7, 3, 1], 4))
    by_class = FeatureSet.from_npy(tmp_path / "classes.npy")
    by_item = FeatureSet.from_npy(tmp_path / "items.npy")
    assert by_class.class_names == ("0", "1", "2")
    assert by_item.class_names == ("1", "3", "7")
    assert by_class.counts.tolist() == by_item.counts.tolist() == [4, 4, 4]
    torch.testing.assert_close(by_class.items[:4], by_item.items[:4].flip(0))


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.zeros((2, 3)), None, r"f\.labels\.npy: no such file"),
        (np.zeros((2, 3)), [0, 1, 1], r"f\.npy: labels: expected shape \(2,\).*got \(3,\)"),
        (np.zeros(3), [0, 1, 1], r"expected features \[classes, images, D\] or \[n, D\]"),
        (np.full((1, 2, 3), np.nan), None, "expected finite numbers"),
        (np.array([{}]), None, r"f\.npy: expected an .npy of a plain array"),
    ],
)
def test_npy_files_that_do_not_fit_are_refused(
    tmp_path: Path, features: np.ndarray, labels: list[int] | None, message: str
) -> None:
    np.save(tmp_path / "f.npy", features)
    if labels is not None:
        np.save(tmp_path / "f.labels.npy", labels)
    with pytest.raises(InputError, match=message):
        FeatureSet.from_npy(tmp_path / "f.npy")


@pytest.mark.parametrize("second", ["labels.npy", "labels"])
def test_an_array_that_is_there_twice_is_refused(tmp_path: Path, second: str) -> None:
    path = tmp_path / "f.npz"
    np.savez(path, features=np.eye(3, dtype=np.float32), labels=["a", "b", "c"])
    with zipfile.ZipFile(path) as archive:
        content = archive.read("labels.npy")
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")  # zipfile warns of the name
        archive.writestr(second, content)
    with pytest.raises(InputError, match=r"f\.npz: expected each array once, got labels again"):
        FeatureSet.from_npz(path)
