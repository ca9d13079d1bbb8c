"""Augmentation of a batch of images, each with random parameters of its own, on the images' device."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Generator, Tensor, nn

from fewshot.core.errors import InputError
from fewshot.core.transfer import send


class Augment(nn.Module):
    """Random crop, mirror, affine map, brightness and noise.

    Each image is moved by whole pixels and mirrored; with ``rotate``, ``scale``, ``shear`` or ``translate``
    all of that becomes one bilinear affine map. Images are reflected at their edges. Then come brightness and
    noise, ``x * (1 + brightness * u) + noise * v * z``, with u uniform in -1 .. 1 and v uniform in 0 .. 1 for
    each image, and z normal for each value.

    Args:
        crop: moves by -crop .. crop pixels, like a random crop of the padded image.
        flip: mirror left and right with probability 1/2.
        brightness: largest share by which an image becomes brighter or darker, 0 .. 1.
        noise: largest standard deviation, in units of the (normalised) images.
        rotate: at most so many degrees.
        scale: zoom by ``1 - scale`` to ``1 + scale``; below 1.
        shear: at most so many degrees, along x.
        translate: further moves by at most this share of the image's side, 0 .. 1.

    Raises:
        InputError: an argument out of range, images not float ``[n, C, H, W]`` or not larger than ``crop``.

    Example:
        >>> images = torch.randn(8, 3, 32, 32)
        >>> Augment(crop=4, noise=0.1)(images, torch.Generator().manual_seed(0)).shape
        torch.Size([8, 3, 32, 32])
    """

    def __init__(
        self,
        crop: int = 4,
        flip: bool = True,
        brightness: float = 0.2,
        noise: float = 0.2,
        rotate: float = 0.0,
        scale: float = 0.0,
        shear: float = 0.0,
        translate: float = 0.0,
    ) -> None:
        super().__init__()
        self.crop, self.flip, self.brightness, self.noise = crop, flip, brightness, noise
        self.rotate, self.scale, self.shear, self.translate = rotate, scale, shear, translate
        limits = {"crop": math.inf, "noise": math.inf, "rotate": 360, "shear": 89}
        for name in ("crop", "brightness", "noise", "rotate", "scale", "shear", "translate"):
            value, limit = getattr(self, name), limits.get(name, 1)
            if not 0 <= value <= limit or (name == "scale" and value == 1):
                raise InputError(f"{name}: expected 0 to {limit}, got {value}")

    def forward(
        self,
        images: Float[Tensor, "n C H W"],
        generator: Generator,
        rows: Int64[Tensor, " n"] | None = None,
        total: int | None = None,
    ) -> Float[Tensor, "n C H W"]:
        """Augment a batch.

        Args:
            images: float ``[n, C, H, W]``.
            generator: the source of randomness. A CPU generator gives the same moves, maps and brightness on
                every device; only the noise is drawn on the images' device.
            rows, total: if processes share a batch, which rows of it these images are, and how many it has:
                each image becomes what it would become in the whole batch. Default: the batch is whole.
        """
        if images.dim() != 4 or not images.is_floating_point():
            raise InputError(f"images: expected float [n, C, H, W], got {images.dtype} {list(images.shape)}")
        n, _, height, width = images.shape
        if self.crop >= min(height, width):
            raise InputError(
                f"crop: expected less than the images' side ({min(height, width)}), got {self.crop}"
            )
        on = generator.device
        total = total or n
        moves = torch.randint(-self.crop, self.crop + 1, (2, total), generator=generator, device=on)
        mirrored = torch.rand(total, generator=generator, device=on) < (0.5 if self.flip else 0.0)
        affine, bright, loud = (torch.rand(7, total, generator=generator, device=on) * 2 - 1).split([5, 1, 1])
        if rows is not None:
            moves, mirrored = moves[:, rows], mirrored[rows]
            affine, bright, loud = affine[:, rows], bright[:, rows], loud[:, rows]
        moves, mirrored = send(moves, images.device), send(mirrored, images.device)
        if self.rotate or self.scale or self.shear or self.translate:
            images = self._map(images, moves, mirrored, send(affine, images.device))
        elif self.crop or self.flip:
            images = _shift(images, moves, mirrored, self.crop)
        if self.brightness:
            images = images * (
                1 + self.brightness * send(bright, images.device).to(images.dtype)[0, :, None, None, None]
            )
        if self.noise:
            local = _on_device(generator, images.device)
            shape = (total, *images.shape[1:])
            noise = torch.randn(shape, generator=local, device=images.device, dtype=images.dtype)
            noise = noise if rows is None or total == n else noise[send(rows, noise.device)]
            level = self.noise * (send(loud, images.device).to(images.dtype)[0, :, None, None, None] + 1) / 2
            images = noise.mul_(level).add_(images)
        return images

    def _map(
        self, images: Float[Tensor, "n C H W"], moves: Tensor, mirrored: Tensor, affine: Float[Tensor, "5 n"]
    ) -> Float[Tensor, "n C H W"]:
        """All moves of pixels as one map from each pixel of the result to its origin."""
        height, width = images.shape[2:]
        angle, shear = torch.deg2rad(self.rotate * affine[0]), torch.deg2rad(self.shear * affine[1])
        zoom = 1 + self.scale * affine[2]
        dy = moves[0] + self.translate * height * affine[3]
        dx = moves[1] + self.translate * width * affine[4]
        mirror = 1 - 2 * mirrored.to(images.dtype)
        cos, sin, tan = angle.cos(), angle.sin(), shear.tan()
        # Rotation times shear, in pixels; then in grid_sample's units, in which the image spans -1 to 1.
        a, b, c, d = cos / zoom, (cos * tan - sin) / zoom, sin / zoom, (sin * tan + cos) / zoom
        rise, run = 2 / max(height - 1, 1), 2 / max(width - 1, 1)
        x_row = torch.stack([mirror * a, b * run / rise, dx * run], dim=1)
        y_row = torch.stack([mirror * c * rise / run, d, dy * rise], dim=1)
        matrix = torch.stack([x_row, y_row], dim=1).to(images.dtype)
        grid = F.affine_grid(matrix, list(images.shape), align_corners=True)
        return F.grid_sample(images, grid, padding_mode="reflection", align_corners=True)


def _shift(
    images: Float[Tensor, "n C H W"], moves: Tensor, mirrored: Tensor, crop: int
) -> Float[Tensor, "n C H W"]:
    """Move by whole pixels, reflected at the edges, and mirror: one window of each padded image."""
    _, _, height, width = images.shape
    padded = F.pad(images, [crop] * 4, mode="reflect") if crop else images
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view [n, C, 2 crop + 1, 2 crop + 1, H, W]
    each = torch.arange(len(images), device=images.device)
    shifted = windows[each, :, moves[0] + crop, moves[1] + crop]
    return torch.where(mirrored[:, None, None, None], shifted.flip(3), shifted)


def _on_device(generator: Generator, device: torch.device) -> Generator:
    """This generator, or one on the device that is seeded from it."""
    if generator.device.type == device.type:
        return generator
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    return torch.Generator(device).manual_seed(seed)
