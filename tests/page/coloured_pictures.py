"""Pictures of noise about a colour."""

import numpy as np
from PIL import Image

COLOURS = {"crow": (20, 20, 20), "gull": (230, 230, 230), "saw": (200, 40, 40)}


def picture(path, colour, seed=0):
    """Noise about a colour."""
    noise = np.random.default_rng(seed).integers(-20, 20, (40, 40, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(path)
    return path
