"""Images as they are decoded: resized, of other modes, turned."""

import io

import numpy as np
from forms import picture
from PIL import Image

from fewshot.data.readers.images import decode


def test_resizing_takes_the_centre() -> None:
    pixels = np.zeros((10, 40), np.uint8)
    pixels[:, 15:25] = 200  # the central square is bright, and nothing else
    small = decode(pixels, "bar", channels=1, size=5)[0]
    assert (small[:, 1:-1] == 200).all()
    assert (small > 150).all()  # the filter at its edges reaches a little further


def test_resizing_averages() -> None:
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    small = decode(board, "board", channels=1, size=8).astype(int)
    assert abs(small - 127.5).max() < 3


def test_grey_16_bit_transparent_and_turned_images() -> None:
    assert decode(picture(7, mode="L"), "grey", channels=3)[:, 0, 0].tolist() == [7, 7, 7]
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 4), 0x8000, np.uint16)).save(buffer, "PNG")
    assert decode(buffer.getvalue(), "deep", channels=1).max() == 0x80
    buffer = io.BytesIO()
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(buffer, "PNG")
    assert decode(buffer.getvalue(), "clear", channels=1).min() == 255
    turned, buffer = Image.new("RGB", (8, 4)), io.BytesIO()
    exif = turned.getexif()
    exif[0x0112] = 6  # lies on its side
    turned.save(buffer, "JPEG", exif=exif)
    assert decode(buffer.getvalue(), "turned", channels=3).shape == (3, 8, 4)


def test_a_rough_look_at_a_photograph_is_nearly_the_same() -> None:
    y, x = np.mgrid[:480, :640]
    photograph = np.stack([y // 2, x // 3, (x + y) // 5], -1).astype(np.uint8)
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photograph).save(buffer, "JPEG", quality=95, exif=exif)
    exact, rough = (decode(buffer.getvalue(), "photo", 3, 48, rough=rough) for rough in (False, True))
    assert rough.shape == exact.shape
    assert abs(rough.astype(int) - exact).max() < 6
