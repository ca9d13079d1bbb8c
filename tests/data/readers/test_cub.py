"""CUB-200-2011 from files in the form in which it is distributed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from forms import Files, Form, as_folder, as_tar_gz, encoded, refused, train_a_step

from fewshot.data.loading import check, load
from fewshot.data.packed import Splits
from fewshot.data.readers.benchmark import read_benchmark

CLASSES = read_benchmark("cub").classes
NAMES = sorted(sum(CLASSES.values(), ()))


def bird(index: int) -> bytes:
    """40 x 30 pixels, grey but for a bird in the box of 20 x 20 at 10, 5; its red is the class's number."""
    pixels = np.full((30, 40, 3), 100, np.uint8)
    pixels[5:25, 10:30] = (index, 255, 255)
    return encoded(pixels)


def birds(**changes: bytes | None) -> Files:
    """Two images per class; changes replace tables, None leaves one out."""
    names = [f"{name}/{name[4:]}_000{turn}.jpg" for name in NAMES for turn in (1, 2)]
    numbers = range(1, len(names) + 1)
    tables: dict[str, bytes | None] = {
        "images": "".join(f"{n} {name}\n" for n, name in zip(numbers, names, strict=True)).encode(),
        "classes": "".join(f"{n} {name}\n" for n, name in enumerate(NAMES, 1)).encode(),
        "image_class_labels": "".join(f"{n} {(n + 1) // 2}\n" for n in numbers).encode(),
        "bounding_boxes": "".join(f"{n} 10.0 5.0 20.0 20.0\n" for n in numbers).encode(),
        "train_test_split": "".join(f"{n} {n % 2}\n" for n in numbers).encode(),
    } | changes
    files = {f"CUB_200_2011/{name}.txt": text for name, text in tables.items() if text is not None}
    files |= {f"CUB_200_2011/images/{name}": bird(index // 2) for index, name in enumerate(names)}
    return files | {"attributes.txt": b"next to the folder, as in the archive"}


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Splits]:
    def load_files(files: Files, kind: str = "cub", form: Form = as_folder, size: int | None = 16) -> Splits:
        path = form(files, tmp_path / "CUB")
        return load(f"{kind}:{path}", cache=tmp_path / "cache", size=size, progress=False)

    return load_files


def test_the_split_rule() -> None:
    for split, rule in {"train": (0, 2), "val": (1,), "test": (3,)}.items():
        assert CLASSES[split] == tuple(name for i, name in enumerate(NAMES) if i % 4 in rule)
    assert [int(name[:3]) for name in NAMES] == [index + 1 for index in range(200)]


@pytest.mark.parametrize("form", [as_folder, as_tar_gz])
def test_whole_photographs(read: Callable[..., Splits], form: Form) -> None:
    splits = read(birds(), form=form)
    for split, data in splits:
        assert data.class_ids == CLASSES[split]
        assert data.images[::2, 0, 8, 8].tolist() == [NAMES.index(name) for name in data.class_ids]
        assert (data.images[:, :, 0, 0] == 100).all()
    assert splits.train.class_names[0] == "Black footed Albatross"
    train_a_step(splits)
    assert check(str(splits.path)) == [
        "train: 200 images, expected 5885",
        "val: 100 images, expected 2950",
        "test: 100 images, expected 2953",
    ]


def test_cropped_to_the_box_only_the_bird_is_left(read: Callable[..., Splits]) -> None:
    splits = read(birds(), "cub-cropped", size=None)
    assert splits.train.size == 20  # the box's own side
    for _, data in splits:
        assert (data.images[:, 1:] == 255).all()
        assert data.images[::2, 0, 0, 0].tolist() == [NAMES.index(name) for name in data.class_ids]
    train_a_step(splits)


def test_boxes_over_the_edge_are_cut_at_it(read: Callable[..., Splits]) -> None:
    boxes = "".join(f"{n} 30.0 20.0 999.0 999.0\n" for n in range(1, 401)).encode()
    splits = read(birds(bounding_boxes=boxes), "cub-cropped", size=None)
    assert splits.train.size == 10
    assert (splits.train.images == 100).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": None}, r"expected CUB_200_2011 with images/ and images\.txt"),
        ({"classes": None}, r"expected CUB_200_2011/classes\.txt, found none"),
        ({"image_class_labels": b"1 1\n2 2\n"}, r"for each of 400 images, image_class_labels\.txt has 2"),
        ({"image_class_labels": b"1 1\n2 777\n"}, r"image_class_labels\.txt line 2 cannot be read: '2 777'"),
        ({"bounding_boxes": b"1 1 2 3\n"}, r"bounding_boxes\.txt line 1 cannot be read"),
        ({"bounding_boxes": b"1 1 2 3 4\n"}, r"has no box in bounding_boxes\.txt"),
        (
            {"bounding_boxes": "".join(f"{n} 50 50 9 9\n" for n in range(1, 401)).encode()},
            r"expected a box in the image of 40x30, got \(50\.0",
        ),
        (
            {"images": b"1 001.Black_footed_Albatross/gone.jpg\n", "image_class_labels": b"1 1"},
            "lists .*gone",
        ),
        (
            {"image_class_labels": b"".join(b"%d 1\n" % n for n in range(1, 401))},
            r"has no image \(199 of 200",
        ),
    ],
)
def test_what_is_wrong_is_named(
    read: Callable[..., Splits], tmp_path: Path, changes: dict[str, bytes | None], message: str
) -> None:
    with refused(tmp_path, message):
        read(birds(**changes), "cub-cropped")
