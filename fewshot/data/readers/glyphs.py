"""The built-in set: letters of many scripts, drawn from the fonts that come with matplotlib, then distorted.

A class is a letter, its superclass a script; train, val and test have different scripts. Images are 32x32,
white (255) on black. The task is that of Omniglot (Lake et al., Science 2015), without a download.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from fewshot.data.labelled import SPLITS
from fewshot.data.readers import glyphs
from fewshot.data.readers.source import Source, SourceClass

FACES = tuple(
    f"DejaVu{family}{style}.ttf"
    for family, slant in (("Sans", "Oblique"), ("Serif", "Italic"), ("SansMono", "Oblique"))
    for style in ("", "-Bold", f"-{slant}", f"-Bold{slant}")
)
MIN_FACES = 4
# The first words of Unicode's letter names. Four scripts are for training, so that there are many letters
# with different kinds of shapes; the letters of the test scripts resemble none of them (look-alikes are left
# out).
SCRIPTS = {
    "LATIN": ("train", "Latin"),
    "GREEK": ("train", "Greek"),
    "CYRILLIC": ("train", "Cyrillic"),
    "CANADIAN": ("train", "Canadian syllabics"),
    "ARMENIAN": ("val", "Armenian"),
    "ARABIC": ("test", "Arabic"),
    "COPTIC": ("test", "Coptic"),
    "GEORGIAN": ("test", "Georgian"),
    "HEBREW": ("test", "Hebrew"),
    "LAO": ("test", "Lao"),
    "LISU": ("test", "Lisu"),
    "OLD": ("test", "Old Italic"),
}
SAMPLES = 20  # per letter, as in Omniglot
SIZE = 32
CANVAS, INK = 48, 27  # pixels: letters are first drawn on a canvas, with a longer side of INK
MAX_EM = 75.0  # the most pixels per em, so that small marks are not enlarged to fill the image
ALIKE = 0.985  # two letters count as one from this cosine of their blurred drawings in the first face
VERSION = 1  # to be increased when the images change


@dataclass(frozen=True)
class Letter:
    """A letter: its code point, and the em in pixels with which it is drawn."""

    code: int
    em: float
    script: str
    split: str

    @property
    def id(self) -> str:
        """Like ``U+0061``."""
        return f"U+{self.code:04X}"

    @property
    def name(self) -> str:
        """Like ``latin small letter a``."""
        return unicodedata.name(chr(self.code)).lower()

    @property
    def taxonomy(self) -> str:
        """Script, case (or block of 256 code points if the script has no case), letter."""
        case = {"Lu": "capital", "Ll": "small", "Lt": "title case"}.get(unicodedata.category(chr(self.code)))
        return f"{self.script}/{case or f'block {self.code >> 8:02X}'}/{self.name}"


def stamp() -> str:
    """What the images depend on, apart from the seed."""
    return f"glyphs {VERSION}, matplotlib {version('matplotlib')}"


def keys(letter: Letter) -> tuple[str, ...]:
    """The names of a letter's samples."""
    prefix = letter.id
    return tuple(f"{prefix}/{sample:02d}" for sample in range(SAMPLES))


def letters() -> list[Letter]:
    """The letters, train first; if some look the same, only the first of them. Blank ones are left out."""
    faces = _faces()
    found: list[tuple[str, int, str]] = []  # split, code point, script
    for code in _covered(faces):
        word = unicodedata.name(chr(code), "").partition(" ")[0]
        if word in SCRIPTS and unicodedata.category(chr(code)) in ("Lu", "Ll", "Lt", "Lo"):
            split, script = SCRIPTS[word]
            found.append((split, code, script))
    found.sort(key=lambda entry: (SPLITS.index(entry[0]), entry[1]))
    drawn, canvases = [], []
    for split, code, script in found:
        if side := max(_ink(faces[0], code, 64.0).shape):
            em = min(64.0 * INK / side, MAX_EM)
            drawn.append((split, code, script, em))
            canvases.append(_on_canvas(_ink(faces[0], code, em)))
    kept = [drawn[index] for index in _distinct(np.stack(canvases))]
    return [Letter(code, em, script, split) for split, code, script, em in kept]


def draw(chosen: list[Letter], wanted: Collection[str], seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Samples of letters, each in one of its faces and with a distortion of its own.

    A sample's image depends only on its letter's place, its number and the seed.

    Args:
        chosen: as :func:`letters` returns them.
        wanted: keys of samples.
        seed: of faces and distortions.

    Yields:
        Key, and uint8 ``[32, 32]``.
    """
    faces = _faces()
    wanted = set(wanted)
    generator = torch.Generator().manual_seed(seed)
    count = SAMPLES * len(chosen)
    affine = torch.rand(count, 6, generator=generator) * 2 - 1
    elastic = torch.randn(count, 2, 4, 4, generator=generator)
    offset = torch.randint(len(FACES), (len(chosen),), generator=generator).tolist()
    for start in range(0, len(chosen), 64):
        names: list[str] = []
        numbers: list[int] = []
        canvases: list[np.ndarray] = []
        for index, letter in enumerate(chosen[start : start + 64], start):
            samples = {sample: key for sample, key in enumerate(keys(letter)) if key in wanted}
            able = [face for face in faces if letter.code in face.codes]
            turns = {sample: (sample + offset[index]) % len(able) for sample in samples}
            inks = {
                turn: _on_canvas(_ink(able[turn], letter.code, letter.em)) for turn in set(turns.values())
            }
            names += samples.values()
            numbers += [SAMPLES * index + sample for sample in samples]
            canvases += [inks[turns[sample]] for sample in samples]
        if names:
            images = distort(torch.from_numpy(np.stack(canvases)), affine[numbers], elastic[numbers])
            yield from zip(names, images.numpy(), strict=True)


def distort(
    canvases: UInt8[Tensor, "n size size"], affine: Float[Tensor, "n 6"], elastic: Float[Tensor, "n 2 4 4"]
) -> UInt8[Tensor, "n 32 32"]:
    """Rotate, zoom, shear, move and bend each letter.

    Args:
        canvases: uint8 ``[n, 48, 48]``.
        affine: in -1 .. 1: rotation (30 degrees), zoom (25 %), aspect (20 %), shear (40 %),
            moves (2.5 pixels).
        elastic: moves of a 4x4 grid of control points, in units of their usual 1.8 pixels.

    Returns:
        uint8 ``[n, 32, 32]``.
    """
    angle = affine[:, 0] * math.radians(30)
    zoom, aspect = torch.exp(-0.25 * affine[:, 1]), torch.exp(0.2 * affine[:, 2])
    shear, moves = 0.4 * affine[:, 3], affine[:, 4:] * (2.5 / (SIZE / 2))
    cos, sin = angle.cos(), angle.sin()
    rotation = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)  # [n, 2, 2]
    one, zero = torch.ones_like(shear), torch.zeros_like(shear)
    stretch = torch.stack([torch.stack([aspect, shear], 1), torch.stack([zero, one / aspect], 1)], 1)
    matrix = zoom[:, None, None] * (rotation @ stretch)
    grid = F.affine_grid(torch.cat([matrix, moves[:, :, None]], 2), [len(affine), 1, SIZE, SIZE], False)
    bend = F.interpolate(elastic * (1.8 / (SIZE / 2)), SIZE, mode="bicubic", align_corners=True)
    images = F.grid_sample(canvases[:, None].float(), grid + bend.permute(0, 2, 3, 1), align_corners=False)
    return images[:, 0].round().clamp(0, 255).to(torch.uint8)


@dataclass(frozen=True)
class _Face:
    font: Any
    codes: frozenset[int]


def _faces() -> list[_Face]:
    import matplotlib
    from matplotlib.ft2font import FT2Font

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    fonts = [FT2Font(str(folder / name)) for name in FACES]
    # Glyph 0 is the box that is drawn for a missing letter.
    return [
        _Face(font, frozenset(code for code, glyph in font.get_charmap().items() if glyph)) for font in fonts
    ]


def _covered(faces: list[_Face]) -> list[int]:
    """The code points that the first face and at least MIN_FACES faces have, ascending."""
    return [code for code in sorted(faces[0].codes) if sum(code in face.codes for face in faces) >= MIN_FACES]


def _ink(face: _Face, code: int, em: float) -> np.ndarray:
    """A letter's drawing, cropped to its ink; uint8 ``[h, w]``, empty if it is blank."""
    face.font.set_size(em, 72)
    face.font.set_text(chr(code))
    face.font.draw_glyphs_to_bitmap(antialiased=True)
    image = np.array(face.font.get_image(), dtype=np.uint8)
    rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
    if not len(rows):
        return np.zeros((0, 0), np.uint8)
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _on_canvas(ink: np.ndarray) -> np.ndarray:
    """The drawing in the middle of a square canvas, cropped if it is too large."""
    height, width = ink.shape
    ink = ink[max(0, height - CANVAS) // 2 :, max(0, width - CANVAS) // 2 :][:CANVAS, :CANVAS]
    top, left = (CANVAS - ink.shape[0]) // 2, (CANVAS - ink.shape[1]) // 2
    canvas = np.zeros((CANVAS, CANVAS), np.uint8)
    canvas[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return canvas


def _distinct(canvases: np.ndarray) -> list[int]:
    """The letters that resemble none of the earlier ones that are kept."""
    blurred = F.avg_pool2d(torch.from_numpy(canvases).float()[:, None], 3).flatten(1)
    directions = F.normalize(blurred, dim=1)
    alike = (directions @ directions.T > ALIKE).numpy()
    kept: list[int] = []
    for index in range(len(alike)):
        if not alike[index, kept].any():
            kept.append(index)
    return kept


def built_in_glyphs(seed: int = 0) -> Source:
    """The built-in letters, see :mod:`fewshot.data.readers.glyphs`."""
    letters = glyphs.letters()
    splits = {
        split: [
            SourceClass(letter.id, letter.name, glyphs.keys(letter), letter.script, letter.taxonomy)
            for letter in letters
            if letter.split == split
        ]
        for split in SPLITS
    }
    return Source("glyphs", "glyphs", splits, lambda keys: glyphs.draw(letters, keys, seed))
