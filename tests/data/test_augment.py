"""Augmentation: each image differently, and nothing that was not asked for."""

import pytest
import torch
import torch.nn.functional as F

from fewshot.core.errors import InputError
from fewshot.data.augment import Augment

OFF = {"crop": 0, "flip": False, "brightness": 0.0, "noise": 0.0}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_with_everything_off_images_are_unchanged() -> None:
    images = torch.randn(4, 3, 8, 8)
    assert torch.equal(Augment(**OFF)(images, generator()), images)


def test_crop_is_a_window_of_the_reflected_image() -> None:
    images = torch.randn(40, 2, 8, 6)
    cropped = Augment(**OFF | {"crop": 2})(images, generator())
    padded = F.pad(images, [2] * 4, mode="reflect")
    places = set()
    for before, after in zip(padded, cropped, strict=True):
        found = [
            (dy, dx)
            for dy in range(5)
            for dx in range(5)
            if torch.equal(before[:, dy : dy + 8, dx : dx + 6], after)
        ]
        assert len(found) == 1
        places.update(found)
    assert len(places) > 10  # of 25: each image has its own


def test_flip_mirrors_about_half() -> None:
    images = torch.randn(400, 1, 4, 4)
    flipped = Augment(**OFF | {"flip": True})(images, generator())
    same = (flipped == images).flatten(1).all(1)
    mirrored = (flipped == images.flip(3)).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 150 < same.sum() < 250


def test_brightness_is_one_factor_per_image() -> None:
    images = torch.rand(200, 3, 4, 4) + 1
    factors = (Augment(**OFF | {"brightness": 0.3})(images, generator()) / images).flatten(1)
    torch.testing.assert_close(factors, factors[:, :1].expand_as(factors))
    assert 0.7 <= factors.min() < 0.72
    assert 1.28 < factors.max() <= 1.3


def test_each_images_noise_is_up_to_the_asked_deviation() -> None:
    noise = Augment(**OFF | {"noise": 0.5})(torch.zeros(2000, 3, 16, 16), generator())
    assert noise.mean().item() == pytest.approx(0.0, abs=0.01)
    each = noise.flatten(1).std(1)  # uniform from 0 to 0.5
    assert 0.48 < each.max() < 0.55
    assert each.min() < 0.02
    assert each.mean().item() == pytest.approx(0.25, rel=0.05)
    assert each.std().item() == pytest.approx(0.5 / 12**0.5, rel=0.05)


def test_the_affine_path_agrees_with_indexing_where_it_maps_whole_pixels() -> None:
    images = torch.randn(30, 2, 9, 7, dtype=torch.float64)
    asked = OFF | {"crop": 3, "flip": True}
    by_index = Augment(**asked)(images, generator())
    by_map = Augment(**asked, rotate=1e-9)(images, generator())
    torch.testing.assert_close(by_map, by_index, atol=1e-4, rtol=0)


@pytest.mark.parametrize("shape", [(33, 33), (21, 33)])
def test_rotation_keeps_the_centre_and_the_distances_from_it(shape: tuple[int, int]) -> None:
    rows = torch.arange(shape[0]) - shape[0] // 2
    columns = torch.arange(shape[1]) - shape[1] // 2
    squared = (rows[:, None] ** 2 + columns**2).float()  # rotation does not change it, any other map does
    images = squared.expand(16, 1, *shape).contiguous()
    rotated = Augment(**OFF, rotate=40.0)(images, generator())
    inside = squared <= 64  # what a rotation does not bring in from beyond the edges
    # Bilinear interpolation of x^2 is off by up to 1/4 in each direction.
    assert (rotated - images)[:, 0, inside].abs().max() < 0.6
    assert (Augment(**OFF, scale=0.2)(images, generator()) - images)[:, 0, inside].abs().max() > 5


def test_zoom_enlarges_by_the_asked_share() -> None:
    ramp = torch.linspace(-1, 1, 41).expand(300, 1, 41, 41).contiguous()
    slopes = (lambda x: (x[:, 0, 20, 25] - x[:, 0, 20, 15]) / 0.5)(
        Augment(**OFF, scale=0.25)(ramp, generator())
    )
    zoom = 1 / slopes
    assert 0.75 <= zoom.min() < 0.77
    assert 1.23 < zoom.max() <= 1.2501


def test_translation_is_a_share_of_the_side() -> None:
    ramp = torch.arange(41.0).expand(300, 1, 41, 41).contiguous()
    moves = Augment(**OFF, translate=0.1)(ramp, generator())[:, 0, 20, 20] - 20
    assert -4.1 <= moves.min() < -3.9
    assert 3.9 < moves.max() <= 4.1


def test_the_generator_decides_everything() -> None:
    images = torch.randn(8, 1, 16, 16)
    augment = Augment(rotate=10.0, scale=0.1, shear=5.0, translate=0.1)
    first = augment(images, generator(1))
    assert torch.equal(augment(images, generator(1)), first)
    assert not torch.equal(augment(images, generator(2)), first)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(InputError, match="brightness: expected 0 to 1, got 2"):
        Augment(brightness=2.0)
    with pytest.raises(InputError, match="noise: expected 0 to inf, got -1"):
        Augment(noise=-1.0)
    with pytest.raises(InputError, match=r"crop: expected less than the images' side \(4\), got 4"):
        Augment(crop=4)(torch.zeros(1, 1, 4, 8), generator())
