"""Features files: what is written is what is read, with names, paths and the order of the classes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fewshot.core.errors import InputError
from fewshot.data.features_file import write_features
from fewshot.data.labelled import FeatureSet
from fewshot.episodes.sampler import EpisodeSampler

PATHS = ("animal/bird/owl", "", "animal/cat")


def features(names: tuple[str, ...], images: int = 6, **more: object) -> FeatureSet:
    items = torch.randn(len(names) * images, 4)
    return FeatureSet(items, torch.arange(len(names)).repeat_interleave(images), names, **more)


def same(a: FeatureSet, b: FeatureSet) -> None:
    assert a.class_names == b.class_names
    assert a.paths == b.paths
    assert torch.equal(a.items, b.items)
    assert torch.equal(a.labels, b.labels)


def test_a_round_trip_changes_nothing(tmp_path: Path) -> None:
    splits = {
        "train": features(("owl", "10", "cat"), paths=PATHS),  # not in order
        "val": features(("9", "1"), 2, paths=("", "thing/one")),
        "test": features(("heron",), 3, paths=("animal/heron",)),
    }
    write_features(tmp_path / "new" / "f.npz", splits)
    for split, data in splits.items():
        same(FeatureSet.from_npz(tmp_path / "new" / "f.npz", split), data)
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["f.npz"]


def test_episodes_are_the_same_after_a_round_trip(tmp_path: Path) -> None:
    data = features(tuple("zyxwvutsrq"), 10)
    write_features(tmp_path / "f.npz", {"test": data})
    again = FeatureSet.from_npz(tmp_path / "f.npz")
    for classes in ("uniform", "hard"):
        a, b = (EpisodeSampler(d, query=5, episodes=50, classes=classes).fingerprint() for d in (data, again))
        assert a == b


def test_identifiers_keep_classes_of_one_name_apart(tmp_path: Path) -> None:
    data = features(("crane (n1)", "crane (n2)", "owl"), paths=PATHS)
    write_features(tmp_path / "f.npz", {"test": data}, {"test": ("n2", "n1", "n0")})
    same(FeatureSet.from_npz(tmp_path / "f.npz"), data)
    with np.load(tmp_path / "f.npz") as file:
        assert set(file["labels"]) == {"n2", "n1", "n0"}
        assert file["classes"].tolist() == ["n2", "n1", "n0"]


def test_sets_without_paths_stay_without(tmp_path: Path) -> None:
    write_features(tmp_path / "f.npz", {"test": features(("owl", "cat"))})
    assert FeatureSet.from_npz(tmp_path / "f.npz").paths is None


def test_other_number_types_are_written_as_float32(tmp_path: Path) -> None:
    data = features(("owl", "cat"))
    write_features(tmp_path / "f.npz", {"test": replace(data, items=data.items.bfloat16())})
    assert torch.equal(FeatureSet.from_npz(tmp_path / "f.npz").items, data.items.bfloat16().float())


@pytest.mark.parametrize(
    ("splits", "ids", "message"),
    [
        ({}, None, "splits: expected features of one size, got no split"),
        ({"test": features(("a", "b"))}, {"test": ("x", "x")}, "class_ids: expected 2 different ones"),
        ({"test": features(("a", "b"))}, {"test": ("x",)}, "class_ids: expected 2 different .* got 1"),
        (
            {"test": FeatureSet(torch.ones(1, 2), torch.tensor([1]), ("a", "b"))},
            None,
            "splits: class 'a' of test has no features",
        ),
        (
            {"train": features(("a",), paths=("x/a",)), "test": features(("a",))},
            None,
            "splits: class 'a' of test has another name or path in another split",
        ),
    ],
)
def test_what_cannot_be_written_is_named(
    tmp_path: Path, splits: dict, ids: dict | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        write_features(tmp_path / "f.npz", splits, ids)
    assert not list(tmp_path.iterdir())


def by_class(**more: object) -> dict:
    return {"features": np.ones((2, 3, 4)), "wnids": ["n1", "n2"], "split": ["test"] * 2, **more}


def by_row(**more: object) -> dict:
    labels = np.repeat(["n1", "n2"], 3)
    return {"features": np.ones((6, 4)), "labels": labels, "split": ["test"] * 6, **more}


@pytest.mark.parametrize("form", [by_class, lambda **more: by_row(classes=["n1", "n2"], **more)])
def test_names_and_paths_are_read_in_both_forms(tmp_path: Path, form) -> None:
    np.savez(tmp_path / "f.npz", **form(names=["crane", "crane"], paths=["bird/crane", "machine/crane"]))
    data = FeatureSet.from_npz(tmp_path / "f.npz")
    assert data.class_names == ("crane (n1)", "crane (n2)")
    assert data.paths == ("bird/crane", "machine/crane")
    assert data.taxonomy is None


@pytest.mark.parametrize("form", [by_class, by_row])
def test_wnids_alone_find_their_paths(tmp_path: Path, form) -> None:
    key = "wnids" if form is by_class else "labels"
    known = np.array(["n01532829", "n99999999"])
    np.savez(tmp_path / "f.npz", **form() | {key: known if form is by_class else np.repeat(known, 3)})
    paths = FeatureSet.from_npz(tmp_path / "f.npz").paths
    assert paths is not None
    assert paths[0].startswith("entity/")
    assert paths[0].endswith("/house_finch")
    assert paths[1] == ""
    np.savez(tmp_path / "f.npz", **form())
    assert FeatureSet.from_npz(tmp_path / "f.npz").paths is None


def test_labels_keep_their_order_without_classes(tmp_path: Path) -> None:
    """Numbers ascend as numbers; arrays of other people's that happen to be called so are not read."""
    labels = np.repeat([10, 9, 2], 2)
    more = {"names": np.array(["file"] * 6), "paths": np.array(["a.jpg"] * 6)}
    np.savez(tmp_path / "f.npz", features=np.ones((6, 4)), labels=labels, split=["test"] * 6, **more)
    data = FeatureSet.from_npz(tmp_path / "f.npz")
    assert data.class_names == ("2", "9", "10")
    assert data.paths is None


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (by_class(paths=["a"]), r"paths: expected one text per class \(2\), got <U1 \[1\]"),
        (by_class(names=[1, 2]), r"names: expected one text per class \(2\), got int64 \[2\]"),
        (by_row(classes=["n1"]), "classes: expected every label, 'n2' is missing"),
        (by_row(classes=[["n1"], ["n2"]]), r"classes: expected one label per class, got shape \[2, 1\]"),
    ],
)
def test_columns_that_do_not_fit_are_refused(tmp_path: Path, arrays: dict, message: str) -> None:
    np.savez(tmp_path / "f.npz", **arrays)
    with pytest.raises(InputError, match=rf"f\.npz: {message}"):
        FeatureSet.from_npz(tmp_path / "f.npz")


def test_errors_show_a_line_that_would_be_right(tmp_path: Path) -> None:
    right = r"np.savez\(FILE, features=X, labels=y, split=np.full\(len\(y\), 'test'\)\) would be right"
    for arrays in ({"x": np.eye(3)}, {"features": np.ones(3)}, {"features": np.eye(3), "labels": [0, 1, 2]},
                   {"features": np.eye(3), "split": ["test"] * 3}):  # fmt: skip
        np.savez(tmp_path / "f.npz", **arrays)
        with pytest.raises(InputError, match=right) as caught:
            FeatureSet.from_npz(tmp_path / "f.npz")
        assert "\n" not in str(caught.value)
    np.savez(tmp_path / "f.npz", features=np.ones((2, 3, 4)), split=["test"] * 2)
    with pytest.raises(InputError, match=r"wnids: .*np.savez\(FILE, features=X, wnids=NAMES"):
        FeatureSet.from_npz(tmp_path / "f.npz")
    np.save(tmp_path / "f.npy", np.eye(3))
    with pytest.raises(InputError, match=r"f.labels.npy: no such file \(np.save\('f.labels.npy', y\) next"):
        FeatureSet.from_npy(tmp_path / "f.npy")
