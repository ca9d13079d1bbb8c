"""Decoding images into arrays of one size."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps

from fewshot.errors import InputError


def decode(content: bytes | np.ndarray, name: str, channels: int, size: int | None = None) -> np.ndarray:
    """An image as uint8 ``[C, H, W]``.

    Turned as its EXIF data say; transparent parts are white; 16-bit grey is scaled to 8 bits.

    Args:
        content: an encoded file, or a uint8 array ``[H, W]``.
        name: the image's name, for messages.
        channels: 1 (grey) or 3 (colour).
        size: the shorter side is resized to this (antialiased) and the centre cropped to a square; None keeps
            the image's own height and width.

    Raises:
        InputError: the content is not an image, or a truncated one.

    Example:
        >>> decode(np.zeros((40, 20), np.uint8), "black", channels=3, size=16).shape
        (3, 16, 16)
    """
    try:
        opened = (
            Image.fromarray(content) if isinstance(content, np.ndarray) else Image.open(io.BytesIO(content))
        )
        image = _flat(ImageOps.exif_transpose(opened)).convert("L" if channels == 1 else "RGB")
    except Exception as error:  # Pillow's decoders raise almost anything on damaged files
        reason = "not an image" if isinstance(error, OSError) and "identify" in str(error) else error
        raise InputError(f"{name}: cannot be decoded ({reason})") from None
    if size is not None and image.size != (size, size):
        image = ImageOps.fit(image, (size, size), method=Image.Resampling.BILINEAR)
    array = np.asarray(image)
    return array[None] if channels == 1 else np.ascontiguousarray(array.transpose(2, 0, 1))


def _flat(image: Image.Image) -> Image.Image:
    """Eight bits, nothing transparent."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image
