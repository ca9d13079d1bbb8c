"""CutMix: a box of another image in each image of a batch, and the label's share that goes with it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor


@dataclass(frozen=True)
class Box:
    """The pixels that are replaced in all images of a batch: half-open ranges of rows and columns.

    Attributes:
        rows, columns: first pixel and the one after the last.
        share: of the pixels that stay, from 0 to 1.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    share: float

    def paste(
        self, images: Float[Tensor, "n C H W"], others: Float[Tensor, "n C H W"]
    ) -> Float[Tensor, "n C H W"]:
        """The images with the pixels of others inside the box.

        >>> box = Box((0, 1), (0, 2), share=0.5)
        >>> box.paste(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)).flatten()
        tensor([1., 1., 0., 0.])
        """
        mixed, (top, bottom), (left, right) = images.clone(), self.rows, self.columns
        mixed[..., top:bottom, left:right] = others[..., top:bottom, left:right]
        return mixed


def draw_box(height: int, width: int, generator: Generator) -> Box:
    r"""A box whose area is uniform, around a uniform pixel, clipped to the image.

    Yun et al., *CutMix: Regularization strategy to train strong classifiers with localizable features* (ICCV
    2019), with :math:`\alpha = 1`: sides :math:`\sqrt{u}` times the image's, with u uniform in 0 .. 1.

    Args:
        height, width: of the images, in pixels.
        generator: the source of randomness, on the CPU.

    >>> box = draw_box(32, 32, torch.Generator().manual_seed(0))
    >>> (box.rows, box.columns, box.share)
    ((7, 32), (0, 30), 0.267578125)
    """
    area, y, x = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
    rows, columns = (_range(size, centre, area**0.5) for size, centre in ((height, y), (width, x)))
    inside = (rows[1] - rows[0]) * (columns[1] - columns[0])
    return Box(rows, columns, 1 - inside / (height * width))


def _range(size: int, centre: float, share: float) -> tuple[int, int]:
    """The pixels whose middles lie within half a share of the size around a centre."""
    first, last = (size * (centre + side * share / 2) for side in (-1, 1))
    return max(0, round(first)), min(size, round(last))
