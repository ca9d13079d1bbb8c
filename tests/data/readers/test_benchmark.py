"""The benchmarks' YAML files, and what is reported of a pack that differs from them."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from forms import as_folder, picture
from typed import fails

from fewshot.core.errors import InputError
from fewshot.core.shipped import find, names
from fewshot.data.loading import load
from fewshot.data.packed import PackedDataset, Splits
from fewshot.data.readers.benchmark import differences, read_benchmark, wrong_files

EXPECTED = {
    "cifar-fs": (64, 16, 20),
    "cub": (100, 50, 50),
    "cub-cropped": (100, 50, 50),
    "fc100": (60, 20, 20),
    "miniimagenet": (64, 16, 20),
    "miniimagenet-first-600": (64, 16, 20),
    "omniglot": (4112, 688, 1692),
    "omniglot-lake": (964, 0, 659),
    "omniglot-upright": (1028, 172, 423),
    "tieredimagenet": (351, 97, 160),
    "tiny-imagenet-fs": (64, 16, 20),
}


@pytest.mark.parametrize("name", names("datasets"))
def test_every_benchmark_says_all_there_is_to_say(name: str) -> None:
    benchmark = read_benchmark(name)
    assert tuple(len(benchmark.classes[split]) for split in ("train", "val", "test")) == EXPECTED[name]
    assert len(benchmark.split_of()) == sum(EXPECTED[name])  # no class is in two splits
    assert benchmark.images_per_class or benchmark.images
    for published in benchmark.checksums.values():
        assert re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", published)
    content = yaml.safe_load(find("datasets", name).read_text())
    if "like" in content:
        content = yaml.safe_load(find("datasets", content["like"]).read_text()) | content
    assert content["name"] == name
    assert content.keys() >= {"paper", "licence", "get", "load"}


def test_both_splits_of_cifar_100_have_its_classes() -> None:
    assert set(read_benchmark("cifar-fs").split_of()) == set(read_benchmark("fc100").split_of())


def of(**classes: dict[str, int]) -> Splits:
    """Splits with these classes and counts."""
    sets = {}
    for split in ("train", "val", "test"):
        counts = list(classes[split].values())
        labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts, dtype=torch.int64))
        images = torch.zeros(len(labels), 1, 4, 4, dtype=torch.uint8)
        sets[split] = PackedDataset(images, labels, tuple(classes[split]))
    return Splits(**sets, name="mine", hash="", path=Path())


def test_differences_are_reported_class_by_class() -> None:
    whole = {"train": {"a": 2, "b": 2}, "val": {}, "test": {"c": 2}}
    benchmark = replace(
        read_benchmark("cifar-fs"),
        classes={split: tuple(counts) for split, counts in whole.items()},
        images_per_class=2,
    )
    assert differences(of(**whole), benchmark) == []
    assert differences(of(train={"a": 2, "c": 3}, val={}, test={"c": 1}), benchmark) == [
        "train: class b is missing",
        "train: class c does not belong there",
        "test: class c has 1 images, expected 2",
    ]
    words = of(train={"ant": 2, "bee": 1}, val={}, test={"cow": 2})
    assert differences(words, benchmark) == ["train: class bee has 1 images, expected 2"]
    totals = replace(benchmark, images_per_class=None, images={"train": 3, "val": 1, "test": 2})
    assert differences(words, totals) == ["val: 0 images, expected 1"]


def test_published_files_are_recognised_by_name(tmp_path: Path) -> None:
    benchmark = replace(read_benchmark("fc100"), checksums={"a.zip": "md5:" + "0" * 32})
    assert wrong_files(tmp_path, benchmark) == []
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.zip").write_bytes(b"")
    line = f"{tmp_path}/in/a.zip: md5 d41d8cd98f00b204e9800998ecf8427e, published {'0' * 32}"
    for path in (tmp_path, tmp_path / "in", tmp_path / "in" / "a.zip"):
        assert wrong_files(path, benchmark) == [line]
    right = replace(benchmark, checksums={"a.zip": "md5:d41d8cd98f00b204e9800998ecf8427e"})
    assert wrong_files(tmp_path, right) == []


@pytest.mark.parametrize(
    "text", ["", "[1]", "classes: {train: [a]}", "a: [", "classes: {train: 3, val: 1, test: 1}"]
)
def test_a_file_that_is_not_a_benchmark_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    expected = r"mine\.yaml: (expected classes \(train, val, test\), and images|not YAML)"
    with pytest.raises(InputError, match=expected):
        read_benchmark(tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("like: mine.yaml", "expected a file that is not like a file that is like another"),
        (
            "images_per_class: 1\nclasses: {train: ['a{1..1000000000}'], val: [b], test: [c]}",
            "1,000,000 classes",
        ),
        (
            "images_per_class: 1\nclasses: {train: ['" + "{a,b}" * 40 + "'], val: [b], test: [c]}",
            "1,000,000 classes",
        ),
        (
            "images_per_class: .inf\nclasses: {train: [a], val: [b], test: [c]}",
            "cannot convert float infinity",
        ),
        (
            "images_per_class: 1\nclasses: {train: [a], val: [b], test: [c]}\nchecksums: {f: 'foo:1'}",
            "md5:… or sha256:…",
        ),
        ("images_per_class: 1\nclasses: {train: [a], val: [b], test: [c]}\nchecksums: 5", "AttributeError"),
        ("[" * 20000, "at most 50 lists and mappings in each other"),
    ],
)
def test_a_file_made_to_break_the_reader_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, reason: str
) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="mine.yaml: .*" + reason):
        read_benchmark("mine.yaml")


def test_the_command_ends_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = as_folder({f"{s}/{s}/1.png": picture(1) for s in ("train", "val", "test")}, tmp_path / "mine")
    assert load(f"folder:{path}", progress=False)
    (tmp_path / "mine.yaml").write_text(
        "images_per_class: 2\nclasses: {train: [train], val: [val], test: [test]}\n"
    )
    words = ["data", "check", f"folder:{path}", "--against", tmp_path / "mine.yaml"]
    assert "3 differences from" in fails(capsys, *words, printed="expected 2")
