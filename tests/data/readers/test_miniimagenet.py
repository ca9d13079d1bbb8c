"""miniImageNet from pickles and from ImageNet's folders; Ravi's layout is in test_sources."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from forms import (
    PAGE,
    Files,
    Form,
    as_folder,
    as_tar,
    as_tar_gz,
    as_zip,
    picture,
    refused,
    train_a_step,
)
from typed import fails

from fewshot.data.loading import check, info, load
from fewshot.data.packed import Splits
from fewshot.data.readers.benchmark import read_benchmark

CLASSES = read_benchmark("miniimagenet").classes
WNIDS = [wnid for names in CLASSES.values() for wnid in names]
SIDE = 16


def images(count: int, first: int) -> np.ndarray:
    """Every image of its own value in red; blue is 9."""
    pixels = np.zeros((count, SIDE, SIDE, 3), np.uint8)
    pixels[..., 0] = (first + np.arange(count) % 200)[:, None, None]
    pixels[..., 2] = 9
    return pixels


def cached(protocol: int = 2, **changes: object) -> Files:
    """``mini-imagenet-cache-*.pkl``, 2 images per class, adjacent."""
    files = {}
    for split, wnids in CLASSES.items():
        content: dict[str, object] = {
            "image_data": images(2 * len(wnids), 0),
            "class_dict": {wnid: [2 * index, 2 * index + 1] for index, wnid in enumerate(wnids)},
        }
        content |= changes if split == "val" else {}
        files[f"mini/mini-imagenet-cache-{split}.pkl"] = pickle.dumps(content, protocol)
    return files


def by_category(named: bool = True, **changes: object) -> Files:
    """``miniImageNet_category_split_*.pickle``, 2 images per class, the classes alternating."""
    files, start = {}, 0
    for split, wnids in CLASSES.items():
        content: dict[str, object] = {
            "data": images(2 * len(wnids), 0),
            "labels": [start + index for index in range(len(wnids))] * 2,
        }
        if named:
            content["catname2label"] = {wnid: start + index for index, wnid in enumerate(wnids)}
        content |= changes if split == "val" else {}
        phase = "train_phase_train" if split == "train" else split
        files[f"miniImageNet_category_split_{phase}.pickle"] = pickle.dumps(content, 2)
        start += len(wnids)
    extra = {"data": images(4, 0), "labels": [0, 1, 2, 3]}  # more images of the train classes: ignored
    files["miniImageNet_category_split_train_phase_val.pickle"] = pickle.dumps(extra)
    return files


def ilsvrc(numbers: tuple[int, ...] = (1200, 37, 9)) -> Files:
    """Three images per class, whose numbers are not in the order of their names; red is the number."""
    return {
        f"ILSVRC/Data/CLS-LOC/train/{wnid}/{wnid}_{number}.JPEG": picture(20 * place, SIDE, SIDE)
        for wnid in WNIDS
        for place, number in enumerate(sorted(numbers), 1)
    }


def tables(place: int) -> Files:
    return {
        f"{split}.csv": "\n".join(
            ["filename,label", *(f"{wnid}{place:08d}.jpg,{wnid}" for wnid in wnids)]
        ).encode()
        for split, wnids in CLASSES.items()
    }


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Splits]:
    def load_files(files: Files, form: Form = as_folder) -> Splits:
        path = form(files, tmp_path / "mini")
        return load(f"miniimagenet:{path}", cache=tmp_path / "cache", progress=False)

    return load_files


@pytest.mark.parametrize("form", [as_folder, as_tar_gz, as_zip])
def test_cache_pickles(read: Callable[..., Splits], form: Form) -> None:
    splits = read(cached(), form)
    for split, data in splits:
        assert data.class_ids == tuple(sorted(CLASSES[split]))
        assert (data.counts == 2).all()
        order = np.argsort(CLASSES[split])
        assert data.images[::2, 0, 3, 3].tolist() == [2 * index for index in order]
        assert (data.images[:, 2] == 9).all()
    train_a_step(splits)


def test_category_pickles(read: Callable[..., Splits]) -> None:
    splits = read(by_category())
    for split, data in splits:
        assert data.class_ids == tuple(sorted(CLASSES[split]))
        order = np.argsort(CLASSES[split])
        assert data.images[::2, 0, 3, 3].tolist() == order.tolist()
        assert data.images[1::2, 0, 3, 3].tolist() == [len(order) + index for index in order]
    train_a_step(splits)


def test_without_names_the_labels_are_the_classes_and_images_are_counted(
    read: Callable[..., Splits], tmp_path: Path
) -> None:
    splits = read(by_category(named=False))
    assert set(splits.val.class_ids) == {str(label) for label in range(64, 80)}
    lines = check(str(splits.path))
    assert len(lines) == 100
    assert all("has 2 images, expected 600" in line for line in lines)


def test_copies_that_differ_in_a_pixel_have_other_hashes(tmp_path: Path) -> None:
    other = images(32, 0)
    other[5, 3, 3, 1] = 1
    hashes = []
    for name, files in (("a", cached()), ("b", cached(5)), ("c", cached(image_data=other))):
        path = as_folder(files, tmp_path / name)
        splits = load(f"miniimagenet:{path}", cache=tmp_path / "cache", progress=False)
        hashes.append((info(splits)["hash"], splits.train.hash))
    assert hashes[0] == hashes[1]  # the same images from pickles of two kinds
    assert hashes[0][0] != hashes[2][0]
    assert hashes[0][1] == hashes[2][1]  # the train split is not what differs


def test_imagenets_folders_with_ravis_tables(read: Callable[..., Splits]) -> None:
    splits = read(ilsvrc() | tables(2))
    assert splits.name == "miniimagenet"
    for split, data in splits:
        assert data.class_ids == tuple(sorted(CLASSES[split]))
        assert data.counts.tolist() == [1] * len(data.class_ids)
        assert (data.images == 40).all()  # number 37: the second of 9, 37, 1200


def test_imagenets_folders_alone_are_another_set_by_name(
    read: Callable[..., Splits], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fewshot.data.readers.miniimagenet.EACH", 2)
    files = ilsvrc() | {f"ILSVRC/Data/CLS-LOC/val/{wnid}/v.JPEG": picture(1) for wnid in WNIDS}
    splits = read(files, as_tar)
    assert splits.name == "miniimagenet-first-600"
    assert splits.test.class_ids == CLASSES["test"]
    assert sorted(splits.test.images[:2, 0, 0, 0].tolist()) == [20, 40]  # numbers 9 and 37
    train_a_step(splits)
    assert check(str(splits.path))[0] == f"train: class {WNIDS[0]} has 2 images, expected 600"


class Danger:
    def __reduce__(self) -> tuple:
        return print, ("run!",)


VAL = "mini/mini-imagenet-cache-val.pkl"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"readme.txt": b""}, "expected train.csv, .* or ImageNet's folders by wnid, found no train.csv"),
        ({k: v for k, v in cached().items() if k != VAL}, f"but no {VAL}"),
        (cached(image_data=Danger()), r"cache-val\.pkl: refused: the pickle asks for \w+\.print"),
        (cached() | {VAL: cached()[VAL][:-50]}, r"cache-val\.pkl: not a complete pickle"),
        (cached() | {VAL: PAGE}, r"cache-val\.pkl: a web page \(HTML\)"),
        (cached(image_data=images(31, 0)), "expected each of 31 images in one class, its classes list 32"),
        (cached(class_dict={"n1": [0, 0]}), "expected each of 32 images in one class, its classes list 2"),
        (cached(class_dict={"n1": 3}), "class_dict does not list rows"),
        (cached(class_dict=[]), "expected class_dict"),
        (cached(image_data=[1]), r"expected image_data as uint8 \[n, H, W, 3\], got list"),
        (cached(class_dict={CLASSES["train"][0]: range(32)}), "refused: the pickle asks for .*range"),
        (cached(class_dict={CLASSES["train"][0]: list(range(32))}), r"class n01532829 is in train too"),
        (by_category(labels=[1, 2, 3]), "expected each of 32 images in one class, its classes list 3"),
        ({f"{WNIDS[0]}.tar": b"", f"{WNIDS[1]}.tar": b""}, "got one .tar per class: unpack them"),
        (by_category(labels=None), "labels: expected whole numbers"),
        (ilsvrc() | tables(4), r"n\d{8}00000004\.jpg is listed, but its class has 3 images"),
        (
            {k: v for k, v in ilsvrc().items() if WNIDS[7] not in k},
            rf"images for each of 100 classes, found none for {WNIDS[7]} \(1 in all\)",
        ),
        (
            ilsvrc() | {f"a/{WNIDS[7]}/1.png": b"", f"train/{WNIDS[7]}/1.png": b""},
            rf"class {WNIDS[7]} is both in ILSVRC.* and in a/",
        ),
    ],
)
def test_what_is_wrong_is_named(
    read: Callable[..., Splits], tmp_path: Path, files: Files, message: str
) -> None:
    with refused(tmp_path, message):
        read(files)


def test_a_pickle_that_would_run_code_ends_the_command_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = as_folder(cached(class_dict=Danger()), tmp_path / "mini")
    line = fails(capsys, "data", "pack", f"miniimagenet:{path}", "--out", tmp_path / "out" / "pack")
    assert "refused: the pickle asks for" in line
    assert not (tmp_path / "out").exists()
