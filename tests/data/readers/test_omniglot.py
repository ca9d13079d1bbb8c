"""Omniglot from files in the form in which it is distributed, with few drawings per character."""

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from forms import PAGE, Files, as_folder, as_tar, as_zip, refused, train_a_step
from PIL import Image
from typed import fails

from fewshot.data.loading import check, load
from fewshot.data.packed import Splits
from fewshot.data.readers.benchmark import Benchmark, read_benchmark

LAKE = read_benchmark("omniglot-lake").classes
NAMES = ("omniglot", "omniglot-upright", "omniglot-lake")
SPLIT = read_benchmark("omniglot-upright").classes


def drawing() -> bytes:
    """105 x 105, one bit, black on white: the left quarter of the upper edge is black."""
    pixels = np.full((105, 105), 255, np.uint8)
    pixels[:15, :60] = 0
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert("1").save(buffer, "PNG")
    return buffer.getvalue()


def parts(drawings: int = 1, last: int = 99) -> Files:
    """``images_background`` and ``images_evaluation``, each alphabet up to its character of that number."""
    content = drawing()
    return {
        f"images_{part}/{character}/{index:04d}_{turn + 1:02d}.png": content
        for part, split in (("background", "train"), ("evaluation", "test"))
        for index, character in enumerate(LAKE[split], 1)
        if int(character[-2:]) <= last
        for turn in range(drawings)
    }


def as_zips(files: Files, path: Path) -> Path:
    """As distributed: a .zip for each part."""
    path.mkdir()
    for name in ("images_background", "images_evaluation"):
        as_zip({key: content for key, content in files.items() if key.startswith(name)}, path / name)
    return path


@pytest.fixture
def two_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmarks with at most two characters per alphabet."""

    def shortened(name: str) -> Benchmark:
        whole = read_benchmark(name)
        if name not in NAMES:
            return whole
        kept = {
            split: tuple(entry for entry in whole.classes[split] if re.search(r"character0[12]\b", entry))
            for split in whole.classes
        }
        return replace(whole, classes=kept)

    for module in ("readers.omniglot", "loading"):
        monkeypatch.setattr(f"fewshot.data.{module}.read_benchmark", shortened)


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Splits]:
    def load_path(path: Path, kind: str = "omniglot", **options: int) -> Splits:
        return load(f"{kind}:{path}", cache=tmp_path / "cache", progress=False, **options)

    return load_path


@pytest.mark.usefixtures("two_of_each")
def test_rotated_characters_are_classes(read: Callable[..., Splits], tmp_path: Path) -> None:
    splits = read(as_zips(parts(drawings=2, last=2), tmp_path / "omniglot-py"))
    assert splits.train.num_classes == 8 * 33
    assert splits.train.class_ids[:2] == (f"{SPLIT['train'][0]}/rot000", f"{SPLIT['train'][0]}/rot090")
    assert tuple(splits.test.images.shape[1:]) == (1, 28, 28)
    upright, *turned = splits.train.images[:8:2, 0].float()
    assert upright[1, 1] == 255  # white on black
    assert upright[20, 20] == 0
    for turns, image in enumerate(turned, 1):
        assert (image - upright.rot90(turns)).abs().max() <= 2
    train_a_step(splits)


@pytest.mark.usefixtures("two_of_each")
def test_folders_and_one_archive_give_the_same(read: Callable[..., Splits], tmp_path: Path) -> None:
    files = parts(last=2)
    expected = read(as_zips(files, tmp_path / "zips")).hash
    assert read(as_folder(files, tmp_path / "folders")).hash == expected
    assert read(as_tar(files, tmp_path / "both")).hash == expected
    assert read(tmp_path / "zips", size=20, channels=3).val.images.shape[1:] == (3, 20, 20)


def test_the_splits(read: Callable[..., Splits], tmp_path: Path) -> None:
    counts = {name: [len(c) for c in read_benchmark(name).classes.values()] for name in NAMES}
    assert counts == {
        "omniglot": [4112, 688, 1692],
        "omniglot-upright": [1028, 172, 423],
        "omniglot-lake": [964, 0, 659],
    }
    assert {name for split in SPLIT.values() for name in split} == {*LAKE["train"], *LAKE["test"]}
    path = as_zips(parts(), tmp_path / "zips")
    lake = read(path, "omniglot-lake")
    assert lake.train.class_ids == LAKE["train"]
    assert len(set(lake.train.superclasses or ())) == 30
    assert len(set(lake.test.superclasses or ())) == 20
    lines = check(f"omniglot-lake:{path}", cache=tmp_path / "cache")
    assert lines[0] == f"train: class {lake.train.class_ids[0]} has 1 images, expected 20"
    assert len(lines) == 1623 + 2  # and the two .zip files


@pytest.mark.usefixtures("two_of_each")
def test_what_is_wrong_is_named(
    read: Callable[..., Splits], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    with refused(tmp_path, r"folders or \.zip files, found no images_background"):
        read(tmp_path / "empty")
    files = parts(last=2)
    broken = as_zips(files, tmp_path / "broken")
    part = broken / "images_background.zip"
    part.write_bytes(part.read_bytes()[:-5000])
    with refused(
        tmp_path, r"images_background\.zip: expected a folder, .* \(is it truncated, or of another format"
    ):
        read(broken)
    part.write_bytes(PAGE)
    line = fails(capsys, "data", "pack", f"omniglot:{broken}", "--out", tmp_path / "out" / "pack")
    assert "images_background.zip: a web page (HTML)" in line
    assert not (tmp_path / "out").exists()
    missing = LAKE["test"][0]
    path = as_folder({k: v for k, v in files.items() if f"/{missing}/" not in k}, tmp_path / "folders")
    with refused(tmp_path, rf"character {re.escape(missing)} has no image \(1 of 100 have none\)"):
        read(path, "omniglot-upright")
