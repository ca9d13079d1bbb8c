"""Decoding images into arrays of one size."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from fewshot.core.errors import InputError
from fewshot.data.readers.archives import HTML, is_html


@dataclass(frozen=True)
class View:
    """A part of an image, or the image rotated or inverted; computed when it is decoded.

    Args:
        content: an encoded file, or a uint8 array ``[H, W]`` or ``[H, W, 3]``.
        box: left, top, right and bottom in pixels; None for all of it.
        turns: quarter turns, counter-clockwise.
        inverted: black and white exchanged.
    """

    content: bytes | np.ndarray
    box: tuple[float, float, float, float] | None = None
    turns: int = 0
    inverted: bool = False


Content = bytes | np.ndarray | View


def decode(content: Content, name: str, channels: int, size: int | None = None) -> np.ndarray:
    """An image as uint8 ``[C, H, W]``.

    It is rotated as its EXIF data say; transparent parts become white; 16-bit grey is scaled to 8 bits.

    Args:
        content: an encoded file, a uint8 array ``[H, W]`` or ``[H, W, 3]``, or a view of either.
        name: the image's name, for messages.
        channels: 1 (grey) or 3 (colour).
        size: the shorter side is resized to this (antialiased) and the centre is cropped to a square; None
            keeps the image's own height and width.

    Raises:
        InputError: the content is not an image or is truncated, or a box holds none of it.

    Example:
        >>> decode(np.zeros((40, 20), np.uint8), "black", channels=3, size=16).shape
        (3, 16, 16)
    """
    view = content if isinstance(content, View) else View(content)
    data = view.content
    try:
        opened = Image.fromarray(data) if isinstance(data, np.ndarray) else Image.open(io.BytesIO(data))
        image = _flat(ImageOps.exif_transpose(opened)).convert("L" if channels == 1 else "RGB")
    except Exception as error:  # Pillow's decoders raise almost anything on damaged files
        reason = "not an image" if isinstance(error, OSError) and "identify" in str(error) else error
        reason = HTML if isinstance(data, bytes) and is_html(data) else reason
        raise InputError(f"{name}: cannot be decoded ({reason})") from None
    image = _viewed(image, view, name)
    if size is not None and image.size != (size, size):
        image = ImageOps.fit(image, (size, size), method=Image.Resampling.BILINEAR)
    array = np.asarray(image)
    return array[None] if channels == 1 else np.ascontiguousarray(array.transpose(2, 0, 1))


def _viewed(image: Image.Image, view: View, name: str) -> Image.Image:
    if view.box is not None:
        left, top, right, bottom = (round(edge) for edge in view.box)
        inside = max(left, 0), max(top, 0), min(right, image.width), min(bottom, image.height)
        if inside[0] >= inside[2] or inside[1] >= inside[3]:
            raise InputError(
                f"{name}: expected a box in the image of {image.width}x{image.height}, got {view.box}"
            )
        image = image.crop(inside)
    if view.turns % 4:
        image = image.transpose(
            (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)[
                view.turns % 4 - 1
            ]
        )
    return ImageOps.invert(image) if view.inverted else image


def _flat(image: Image.Image) -> Image.Image:
    """The image in eight bits, with nothing transparent."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image
