"""Packs from torch data sets, with images of every type that they return."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forms import train_a_step
from PIL import Image
from torch.utils.data import ConcatDataset, Dataset, IterableDataset

from fewshot.core.errors import InputError
from fewshot.data.from_torch import pack_dataset
from fewshot.data.loading import load

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3), dtype=np.uint8)
LABELS = [0, 1, 2, 3, 4, 5] * 4
SPLITS = {"train": ["c", "a", "b"], "test": ["e", "d", "f"]}
KINDS = {
    "pillow": Image.fromarray,
    "array": np.copy,
    "bytes": lambda pixels: torch.from_numpy(pixels).permute(2, 0, 1),
    "floats": lambda pixels: torch.from_numpy(pixels).permute(2, 0, 1) / 255,
}


class Pictures(Dataset):
    """Like torchvision's: images and labels by index, with ``classes`` and ``targets``."""

    def __init__(self, kind: str = "pillow", first: int = 0, last: int = 24) -> None:
        self.kind, self.first = kind, first
        self.targets = LABELS[first:last]
        self.classes = list("abcdef")

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return KINDS[self.kind](PIXELS[self.first + index]), self.targets[index]


@pytest.mark.parametrize("kind", list(KINDS))
def test_pixels_names_and_splits(tmp_path: Path, kind: str) -> None:
    made = pack_dataset(Pictures(kind), tmp_path / "pack", splits=SPLITS, progress=False)
    splits = load(f"packed:{tmp_path / 'pack'}")
    assert splits.hash == made.hash
    assert [data.class_names for _, data in splits] == [("c", "a", "b"), (), ("e", "d", "f")]
    expected = torch.from_numpy(PIXELS[2::6]).permute(0, 3, 1, 2)
    assert torch.equal(splits.train.images[:4], expected)
    train_a_step(splits)


def test_parts_joined_and_labels_found_by_reading(tmp_path: Path) -> None:
    whole = pack_dataset(Pictures(), tmp_path / "whole", splits=SPLITS, progress=False)
    joined = ConcatDataset([Pictures(last=9), Pictures(first=9)])
    again = pack_dataset(joined, tmp_path / "joined", splits=SPLITS, names=list("abcdef"), progress=False)
    assert again.hash == whole.hash
    by_label = {split: [ord(name) - ord("a") for name in names] for split, names in SPLITS.items()}
    numbers = pack_dataset(joined, tmp_path / "numbers", splits=by_label, progress=False)
    assert numbers.train.class_names == ("2", "0", "1")
    assert torch.equal(numbers.train.images, whole.train.images)


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[Any]:
        return iter([])


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        (Stream(), {}, "dataset: expected one with a length, got Stream"),
        (Pictures(), {"labels": [0, 1]}, r"labels: expected one per image \(24\), got 2"),
        (
            Pictures(),
            {"splits": {"train": ["z"]}},
            "splits: class z of train has no image, or is not a class",
        ),
        (
            Pictures(),
            {"splits": {"train": ["a"], "val": ["a"]}},
            "splits: class a is both in train and in val",
        ),
        (Pictures(), {"splits": {"valid": ["a"]}}, "splits: expected train, val, test, got valid"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, dataset: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        pack_dataset(dataset, tmp_path / "pack", **({"splits": SPLITS} | options), progress=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (
            torch.full((3, 8, 8), -1.0),
            r"image 0: expected floats from 0 to 1 \(leave out the norm",
        ),
        (torch.zeros(8, 8, 8), r"image 0: expected a Pillow image, .*got torch.float32 \[8, 8, 8\]"),
        ("a path", "image 0: expected a Pillow image, .*got str"),
    ],
)
def test_items_that_are_not_images_are_named(
    tmp_path: Path, image: object, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KINDS, "wrong", lambda _: image)
    with pytest.raises(InputError, match=message):
        pack_dataset(Pictures("wrong"), tmp_path / "pack", splits={"test": ["a"]}, progress=False)
    assert not list(tmp_path.iterdir())
