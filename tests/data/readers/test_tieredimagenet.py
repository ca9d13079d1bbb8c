"""tieredImageNet from its authors' pickles and from ImageNet's folders."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from forms import Files, Form, as_folder, as_tar, encoded, picture, refused, train_a_step

from fewshot.data.loading import check, load
from fewshot.data.packed import Splits
from fewshot.data.readers.benchmark import read_benchmark

CLASSES = read_benchmark("tieredimagenet").classes
WORDS = {
    "train": ["crane", "drum, tympan", "plow"],
    "val": ["taxi", "tram", "bus"],
    "test": ["hen", "owl", "jay"],
}


def png(red: int) -> np.ndarray:
    """As returned by OpenCV's ``imencode``: a column of the file's bytes."""
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[..., 0] = red
    return np.frombuffer(encoded(pixels), np.uint8)[:, None]


def pickled(split: str = "val", protocol: int = 2, **changes: object) -> Files:
    """Three classes per split, 2 images each, alternating; red is 10 times the label, plus the round."""
    files = {}
    for name, words in WORDS.items():
        labels: dict[str, object] = {
            "label_specific": np.array([0, 1, 2] * 2),
            "label_specific_str": words,
            "label_general": np.array([0, 1, 1] * 2),
            "label_general_str": [f"{name} one", f"{name} two"],
        }
        images: object = [png(10 * label + turn) for turn in range(2) for label in range(3)]
        if name == split:
            images = changes.pop("images", images)
            labels |= changes
        files[f"tiered/{name}_images_png.pkl"] = pickle.dumps(images, protocol)
        files[f"tiered/{name}_labels.pkl"] = pickle.dumps(labels, protocol)
    return files


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Splits]:
    def load_files(files: Files, form: Form = as_folder) -> Splits:
        path = form(files, tmp_path / "tiered")
        return load(f"tieredimagenet:{path}", cache=tmp_path / "cache", progress=False)

    return load_files


@pytest.mark.parametrize("form", [as_folder, as_tar])
def test_pickles(read: Callable[..., Splits], form: Form) -> None:
    splits = read(pickled(), form)
    for split, data in splits:
        assert list(data.class_names) == WORDS[split]
        assert data.superclasses == (f"{split} one", f"{split} two", f"{split} two")
        assert data.images[:, 0, 2, 2].tolist() == [0, 1, 10, 11, 20, 21]
        assert (data.images[:, 1:] == 0).all()
    train_a_step(splits)


def test_bytes_in_place_of_arrays_and_names(read: Callable[..., Splits]) -> None:
    splits = read(
        pickled(images=[png(10 * k).tobytes() for k in range(6)], label_specific_str=[b"a", b"b", b"c"])
    )
    assert splits.val.class_names == ("a", "b", "c")
    assert splits.val.images[:, 0, 0, 0].tolist() == [0, 30, 10, 40, 20, 50]


def test_folders_by_wnid(read: Callable[..., Splits], tmp_path: Path) -> None:
    colours = {wnid: index % 251 for index, wnid in enumerate(sorted(sum(CLASSES.values(), ())))}
    files = {f"train/{wnid}/{wnid}_1.JPEG": picture(colour, 16, 16) for wnid, colour in colours.items()}
    splits = read(files | {"train/n00000001/x.JPEG": b"a class of no split is left alone"})
    for split, data in splits:
        assert data.class_ids == CLASSES[split]
        assert data.images[:, 0, 0, 0].tolist() == [colours[wnid] for wnid in data.class_ids]
    assert check(str(splits.path)) == [
        "train: 351 images, expected 448695",
        "val: 97 images, expected 124261",
        "test: 160 images, expected 206209",
    ]


class Danger:
    def __reduce__(self) -> tuple:
        return exec, ("1",)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({k: v for k, v in pickled().items() if "val_l" not in k}, r"but no tiered/val_labels\.pkl"),
        (pickled(images=Danger()), r"val_images_png\.pkl: refused: the pickle asks for \w+\.exec"),
        (pickled(images=7), r"val_images_png\.pkl: expected a list of encoded images, got int"),
        (pickled(images=[png(1)] * 5), r"as many of label_specific as images \(5\), got 6"),
        (pickled(images=[png(1)[:40]] * 6), r"val_images_png\.pkl#\d: cannot be decoded"),
        (pickled(images=[3] * 6), r"val_images_png\.pkl#\d: expected an image, got int"),
        (pickled(label_specific=[0, 1, 9] * 2), r"val_labels\.pkl: a label has no name"),
        (pickled(label_specific_str=["taxi", "owl", "bus"]), r"test_labels\.pkl: class owl is in val too"),
        ({"n01530575/1.JPEG": picture(1)}, r"for each of 608 classes, found none for n\d{8} \(607 in all\)"),
    ],
)
def test_what_is_wrong_is_named(
    read: Callable[..., Splits], tmp_path: Path, files: Files, message: str
) -> None:
    with refused(tmp_path, message):
        read(files)
