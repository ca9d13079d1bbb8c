"""The picture of accuracy against the number of known classes."""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.append(str(Path(__file__).parents[2] / "experiments"))
from known_classes_picture import COLORS, TITLES, apart, draw

SIZES = (1, 4, 64)


def result(spread: float) -> dict:
    rows = [
        {"known": size, "relations": kind, "belief": belief, "over_none": spread * i * size, "ci95": 0.1}
        for size in SIZES
        for i, kind in enumerate(COLORS)
        for belief in TITLES
    ]
    return {"rows": rows, "split": "val", "episodes": 100, "without": {"accuracy": 50.0}}


@pytest.mark.parametrize("spread", [0.001, 1.0])
def test_labels_do_not_overlap(tmp_path, spread):
    figure = draw(tmp_path / "picture.png", result(spread))
    image = np.asarray(Image.open(tmp_path / "picture.png"))
    assert (image[0, 0] == [255, 255, 255, 0]).all()  # no background
    whole = figure.bbox
    for axes in figure.axes:
        boxes = sorted((text.get_window_extent() for text in axes.texts), key=lambda box: box.y0)
        assert len(boxes) == len(COLORS)
        assert all(a.y1 <= b.y0 + 2 for a, b in pairwise(boxes))
        assert all(whole.x0 <= box.x0 and box.x1 <= whole.x1 for box in boxes)


def test_labels_are_moved_no_further_than_needed():
    assert apart({"a": 0.0, "b": 5.0}, 1.0) == {"a": 0.0, "b": 5.0}
    moved = apart({"a": 0.0, "b": 0.2}, 1.0)
    assert moved["a"] == pytest.approx(-0.4)
    assert moved["b"] == pytest.approx(0.6)


@pytest.mark.parametrize("paper", [(255, 255, 255), (13, 17, 23)])
def test_colours_are_readable_on_white_and_on_dark(paper):
    """A contrast of at least 3, as WCAG 2.1 asks of graphics."""

    def luminance(rgb) -> float:
        x = np.array(rgb) / 255
        x = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
        return float(x @ [0.2126, 0.7152, 0.0722])

    for color in COLORS.values():
        one = luminance([int(color[k : k + 2], 16) for k in (1, 3, 5)])
        light, dark = max(one, luminance(paper)), min(one, luminance(paper))
        assert (light + 0.05) / (dark + 0.05) >= 3
