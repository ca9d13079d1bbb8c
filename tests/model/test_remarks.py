"""What is said of images that are unlike those of the training."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fewshot import ClassGraph, GraphFewShot, KnownClasses
from fewshot.model.preprocess import Preprocess
from fewshot.model.remarks import brightness_remarks, image_remarks, likeness_remarks


def corners(images: torch.Tensor) -> torch.Tensor:
    """Features that tell which corner of an image is light."""
    return torch.nn.functional.adaptive_avg_pool2d(images, 2).mean(1).flatten(1)


@pytest.fixture
def model() -> GraphFewShot:
    known = KnownClasses(torch.eye(4)[:2])
    form = Preprocess(16, 1, mean=(0.1,), std=(0.2,))
    model = GraphFewShot(corners, ClassGraph(), preprocess=form, known=known, precision="32-true")
    model.extra = {"config": {}}
    return model.eval()


def draw(folder: Path, corner: int, colour: tuple[int, int, int], ground: int = 0) -> Path:
    pixels = np.full((16, 16, 3), ground, np.uint8)
    pixels[8 * (corner // 2) :, 8 * (corner % 2) :][:8, :8] = colour
    file = folder / f"{corner} {colour} {ground}.png"
    Image.fromarray(pixels).save(file)
    return file


WHITE, RED = (255, 255, 255), (255, 40, 40)


def test_usual_images_have_no_remarks(model: GraphFewShot, tmp_path: Path) -> None:
    files = [draw(tmp_path, corner, WHITE) for corner in (0, 1)]
    assert image_remarks(model, {"a": files}, files) == []


def test_colour_black_and_white_exchanged_and_other_images_are_named(
    model: GraphFewShot, tmp_path: Path
) -> None:
    supports = {"a": [draw(tmp_path, 0, WHITE)], "b": [draw(tmp_path, 1, WHITE)]}
    line, *_ = image_remarks(model, supports, [draw(tmp_path, 0, RED)])
    assert line.startswith("1 of 1 images are coloured")
    inverted = [draw(tmp_path, 0, (0, 0, 0), 255), draw(tmp_path, 1, (0, 0, 0), 255)]
    lines = image_remarks(model, supports, inverted)
    assert lines[0].startswith(
        "the images look inverted: their mean brightness is 0.75, that of the training"
    )
    lines = image_remarks(model, supports, [draw(tmp_path, 3, WHITE)])
    assert lines[-1].startswith("the images are unlike those of the training")


def test_thresholds_are_where_they_should_be() -> None:
    like = torch.full((3,), 0.6)
    assert likeness_remarks(like, like, 64, 256) == []
    chance = (2 * np.log(64) / 256) ** 0.5
    [line] = likeness_remarks(like, torch.full((3,), 1.4 * chance), 64, 256)
    assert f"a random direction {chance:.2f}" in line
    grey = np.full((3, 4, 4), 128, np.uint8)
    assert brightness_remarks(0.45, [grey]) == brightness_remarks(None, [grey]) == []
    assert brightness_remarks(0.5, [np.full((3, 4, 4), 250, np.uint8)]) == []  # light, but not inverted
