"""Letters to classify, as files of images."""

import matplotlib
from PIL import Image, ImageDraw, ImageFont

LETTERS = "AOT"


def draw(letter, path, shift=0, size=(48, 40)):
    """A letter, white on black, moved by some pixels, in an image of any size."""
    font = ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", 36)
    image = Image.new("L", size)
    ImageDraw.Draw(image).text((size[0] / 2 + shift, size[1] / 2), letter, font=font, anchor="mm", fill=255)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path
