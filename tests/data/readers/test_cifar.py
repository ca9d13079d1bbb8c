"""CIFAR-FS and FC100 from files in the form of CIFAR-100 for Python."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from forms import PAGE, Files, Form, as_folder, as_tar_gz, as_zip, refused, train_a_step
from typed import fails

from fewshot.data.loading import check, load
from fewshot.data.packed import Splits
from fewshot.data.readers.benchmark import read_benchmark

FC100 = read_benchmark("fc100").classes
FINE = sorted(name for names in FC100.values() for name in names)  # alphabetical, as in the set itself
ABOVE = {name: f"group {index // 5}" for index, name in enumerate(n for c in FC100.values() for n in c)}
META = "cifar-100-python/meta"
COARSE = sorted(set(ABOVE.values()))


def batch(each: int, seed: int) -> dict[str, object]:
    """A file's content: ``each`` images per class, shuffled; red is the class's number."""
    fine = np.random.default_rng(seed).permutation(np.arange(100).repeat(each))
    data = np.zeros((len(fine), 3, 32, 32), np.uint8)
    data[:, 0] = fine[:, None, None]
    data[:, 1, 5, 7] = 200  # one green pixel: row 5, column 7
    return {
        "filenames": [f"{index}.png" for index in range(len(fine))],
        "batch_label": "part 1 of 1",
        "fine_labels": fine.tolist(),
        "coarse_labels": [COARSE.index(ABOVE[FINE[label]]) for label in fine],
        "data": data.reshape(len(fine), -1),
    }


def cifar(**changes: object) -> Files:
    """The data set with 2 + 1 images per class; changes replace keys of the train file."""
    meta = {"fine_label_names": FINE, "coarse_label_names": COARSE}
    files = {"train": batch(2, 0) | changes, "test": batch(1, 1), "meta": meta}
    return {f"cifar-100-python/{name}": pickle.dumps(value, 2) for name, value in files.items()}


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Splits]:
    def load_files(files: Files, kind: str = "cifar-fs", form: Form = as_tar_gz) -> Splits:
        path = form(files, tmp_path / "cifar")
        return load(f"{kind}:{path}", cache=tmp_path / "cache", progress=False)

    return load_files


@pytest.mark.parametrize("form", [as_tar_gz, as_zip, as_folder])
@pytest.mark.parametrize("kind", ["cifar-fs", "fc100"])
def test_pixels_and_names(read: Callable[..., Splits], kind: str, form: Form) -> None:
    splits = read(cifar(), kind, form)
    for split, data in splits:
        assert data.class_ids == read_benchmark(kind).classes[split]
        assert (data.counts == 3).all()
        assert tuple(data.images.shape[1:]) == (3, 32, 32)
        assert [FINE[red] for red in data.images[::3, 0, 0, 0].tolist()] == list(data.class_ids)
        assert (data.images[:, 1].flatten(1).argmax(1) == 5 * 32 + 7).all()
        assert data.superclasses == tuple(ABOVE[name] for name in data.class_ids)
    train_a_step(splits)


def test_no_superclass_of_fc100_is_in_two_splits(read: Callable[..., Splits]) -> None:
    groups = [set(data.superclasses or ()) for _, data in read(cifar(), "fc100")]
    assert [len(group) for group in groups] == [12, 4, 4]
    assert len(set.union(*groups)) == 20


def test_the_folder_itself_is_as_good(read: Callable[..., Splits], tmp_path: Path) -> None:
    splits = read(cifar(), form=as_folder)
    inner = f"cifar-fs:{tmp_path / 'cifar' / 'cifar-100-python'}"
    assert load(inner, cache=tmp_path / "cache", progress=False).hash == splits.hash


def test_check_compares_class_by_class_and_the_published_files(tmp_path: Path) -> None:
    path = as_tar_gz(cifar(), tmp_path / "cifar-100-python")
    lines = check(f"cifar-fs:{path}", cache=tmp_path / "cache", progress=False)
    assert lines[0] == "train: class apple has 3 images, expected 600"
    assert len(lines) == 101
    assert "md5" in lines[100]
    assert "published eb9058c3a382ffc7106e4002c42a8d85" in lines[100]


class Danger:
    def __reduce__(self) -> tuple:
        return print, ("run!",)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"cifar-100-python/train": b""}, "expected cifar-100-python with its files meta, train and test"),
        (cifar(data=Danger()), r"cifar-100-python/train: refused: the pickle asks for \w+\.print"),
        (cifar(data=np.zeros((200, 3072))), r"expected data as uint8 \[n, 3072\], got float64 \[200, 3072\]"),
        (cifar(fine_labels=[0] * 9), r"as many labels as images \(200\), got 9 fine and 200 coarse"),
        (cifar(fine_labels=[150] * 200), r"train: label 150, of superclass \d+, is not in meta"),
        (cifar(fine_labels=5), "fine_labels: expected whole numbers, one per image, got 5"),
        (cifar(coarse_labels=None), "coarse_labels: expected whole numbers, one per image, got None"),
        (cifar(coarse_labels=[[1]] * 200), "coarse_labels: expected whole numbers"),
        (
            cifar() | {META: pickle.dumps({"fine_label_names": 5, "coarse_label_names": COARSE}, 2)},
            "a list of names",
        ),
        (
            cifar() | {META: pickle.dumps({"fine_label_names": FINE, "coarse_label_names": None}, 2)},
            "a list of names",
        ),
        (
            cifar() | {META: pickle.dumps({"fine_label_names": FINE, "coarse_label_names": [COARSE]})},
            "expected text",
        ),
        (cifar(fine_labels=["a"] * 200), r"fine_labels: expected whole numbers, one per image, got \['a'"),
        (
            cifar() | {"cifar-100-python/train": cifar()["cifar-100-python/train"][:-99]},
            "not a complete pickle",
        ),
        (cifar() | {"cifar-100-python/train": PAGE}, r"train: a web page \(HTML\)"),
        (cifar() | {"cifar-100-python/train": pickle.dumps([1])}, "expected a dict with data, .*, got list"),
        (cifar() | {"cifar-100-python/meta": pickle.dumps({})}, "found no fine_label_names"),
        (
            cifar(fine_labels=[0] * 200)
            | {"cifar-100-python/test": pickle.dumps(batch(1, 1) | {"fine_labels": [1] * 100})},
            r"class \w+ has no image \(98 of 100 classes have none\)",
        ),
    ],
)
def test_what_is_wrong_is_named(
    read: Callable[..., Splits], tmp_path: Path, files: Files, message: str
) -> None:
    with refused(tmp_path, message):
        read(files)


def test_half_an_archive_ends_the_command_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = as_tar_gz(cifar(), tmp_path / "cifar")
    path.write_bytes(path.read_bytes()[:-200])
    out = tmp_path / "out" / "pack"
    assert "not a complete .tar file" in fails(capsys, "data", "pack", f"fc100:{path}", "--out", out)
    assert not out.parent.exists() or not list(out.parent.iterdir())
