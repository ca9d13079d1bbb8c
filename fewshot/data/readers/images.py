"""Decoding images into arrays of one size."""

from __future__ import annotations

import ctypes
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from threading import Condition

import numpy as np
from PIL import Image, ImageOps

from fewshot.core.errors import InputError
from fewshot.core.untrusted.guard import cause
from fewshot.data.readers.archives import HTML, is_html

# Others can run programs (PostScript), or are not what data sets consist of.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
LARGEST = 108_000_000  # pixels, those of the largest cameras; takes up to 0.9 GB
AT_ONCE = 2**22  # pixels that are blended with white at a time


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


class TooLarge(Exception):
    """An image has more pixels per side than asked for."""


def decode(
    content: Content,
    name: str,
    channels: int,
    size: int | None = None,
    largest: int | None = None,
    rough: bool = False,
) -> np.ndarray:
    """An image as uint8 ``[C, H, W]``.

    It is rotated as its EXIF data say; transparent parts become white; 16-bit grey is scaled to 8 bits.

    Args:
        content: an encoded file, a uint8 array ``[H, W]`` or ``[H, W, 3]``, or a view of either.
        name: the image's name, for messages.
        channels: 1 (grey) or 3 (colour).
        size: the shorter side is resized to this (antialiased) and the centre is cropped to a square; None
            keeps the image's own height and width.
        largest: the most pixels per side of an image that keeps its own; default None: any.
        rough: whether a JPEG file may be decoded at a smaller scale that still has ``size`` pixels, which is
            several times faster and good enough to look at; default False.

    Raises:
        TooLarge: see ``largest``.
        InputError: the content is not an image or is truncated, has more than 108 million pixels or values
            of 32 bits, or a box holds none of it.

    Example:
        >>> decode(np.zeros((40, 20), np.uint8), "black", channels=3, size=16).shape
        (3, 16, 16)
    """
    view = content if isinstance(content, View) else View(content)
    data = view.content
    opened = _opened(data, name)
    if opened.format == "TIFF":
        _silence_libtiff()
    if rough and size is not None and view.box is None:
        opened.draft(None, (size, size))
    with _PIXELS.taking(opened.width * opened.height):
        try:
            ImageOps.exif_transpose(opened, in_place=True)
            image = _flat(opened, "L" if channels == 1 else "RGB")
        except Exception as error:  # Pillow's decoders raise almost anything on damaged files
            raise InputError(f"{name}: cannot be decoded ({cause(error)})") from None
        image = _viewed(image, view, name)
        if size is not None and image.size != (size, size):
            image = ImageOps.fit(image, (size, size), method=Image.Resampling.BILINEAR)
        if size is None and largest is not None and max(image.size) > largest:
            raise TooLarge
        array = np.asarray(image)
        return array[None] if channels == 1 else np.ascontiguousarray(array.transpose(2, 0, 1))


def _opened(data: bytes | np.ndarray, name: str) -> Image.Image:
    """An image whose size is known; its pixels are not yet read."""
    try:
        opened = (
            Image.fromarray(data)
            if isinstance(data, np.ndarray)
            else Image.open(io.BytesIO(data), formats=FORMATS)
        )
    except Image.DecompressionBombError:  # beyond Pillow's own limit, which is larger
        raise InputError(f"{name}: expected an image of at most {LARGEST:,} pixels, got more") from None
    except Exception as error:
        reason = "not an image" if isinstance(error, OSError) and "identify" in str(error) else cause(error)
        reason = HTML if isinstance(data, bytes) and is_html(data) else reason
        raise InputError(f"{name}: cannot be decoded ({reason})") from None
    if opened.width * opened.height > LARGEST:
        got = f"{opened.width}x{opened.height}"
        raise InputError(f"{name}: expected an image of at most {LARGEST:,} pixels, got {got}")
    return opened


@cache
def _silence_libtiff() -> None:
    """Keep libtiff from writing to standard error what Pillow also raises, in this process."""
    try:
        handler = ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler  # of the libtiff that Pillow uses
    except (AttributeError, OSError):  # Pillow without it, or with it inside
        return
    handler.argtypes, handler.restype = [ctypes.c_void_p], ctypes.c_void_p
    handler(None)


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


def _flat(image: Image.Image, mode: str) -> Image.Image:
    """The image in eight bits, with nothing transparent, in grey or in colour."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("expected values of 8 or 16 bits, got 32, whose range is not known")
    if not image.has_transparency_data:
        return image if image.mode == mode else image.convert(mode)
    flat = Image.new(mode, image.size)
    rows = max(1, AT_ONCE // image.width)
    for top in range(0, image.height, rows):
        part = image.crop((0, top, image.width, min(top + rows, image.height))).convert("RGBA")
        part = Image.alpha_composite(Image.new("RGBA", part.size, "white"), part)
        flat.paste(part.convert(mode), (0, top))
    return flat


class _Budget:
    """How many pixels may be in work at once, over all threads; a single image may always."""

    def __init__(self, most: int) -> None:
        self._most, self._used, self._changed = most, 0, Condition()

    @contextmanager
    def taking(self, pixels: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._used or self._used + pixels <= self._most)
            self._used += pixels
        try:
            yield
        finally:
            with self._changed:
                self._used -= pixels
                self._changed.notify_all()


_PIXELS = _Budget(LARGEST)  # the memory is the process's, so there is one
