"""CutMix: the box is where it says, and its share is that of the pixels that stay."""

import pytest
import torch

from fewshot.data.cutmix import Box, draw_box


def boxes(height, width, number=2000):
    generator = torch.Generator().manual_seed(0)
    return [draw_box(height, width, generator) for _ in range(number)]


@pytest.mark.parametrize(("height", "width"), [(32, 32), (5, 17), (1, 1)])
def test_the_share_is_that_of_the_pixels_that_stay(height, width):
    own, others = torch.zeros(2, 1, height, width), torch.ones(2, 1, height, width)
    for box in boxes(height, width, 200):
        mixed = box.paste(own, others)
        assert mixed[0].mean().item() == pytest.approx(1 - box.share, abs=1e-6)
        assert 0 <= box.rows[0] <= box.rows[1] <= height
        assert 0 <= box.columns[0] <= box.columns[1] <= width
    assert own.sum() == 0


def test_areas_are_those_of_uniform_boxes_clipped_to_the_image():
    drawn = boxes(400, 400)
    u, *centre = torch.rand(3, 100_000, generator=torch.Generator().manual_seed(1))
    sides = [(c + u.sqrt() / 2).clamp(max=1) - (c - u.sqrt() / 2).clamp(min=0) for c in centre]
    expected = 1 - (sides[0] * sides[1]).mean().item()
    assert sum(box.share for box in drawn) / len(drawn) == pytest.approx(expected, abs=0.02)


def test_rows_and_columns_are_not_mixed_up():
    mixed = Box((1, 2), (0, 3), share=0.75).paste(torch.zeros(1, 1, 4, 3), torch.ones(1, 1, 4, 3))
    assert mixed[0, 0].sum(1).tolist() == [0, 3, 0, 0]
