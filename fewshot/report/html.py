"""Self-contained HTML pages: no external script, font or picture; dark if the reader's system is."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from fewshot.core.escape import printable

STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1c2128; --soft: #667080; --line: #d5dae1;
  --panel: #f5f7f9; --accent: #1f6feb; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14171c; --ink: #e4e8ee; --soft: #98a2b0; --line: #343b45; --panel: #1d2229;
    --accent: #6aa5ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 64rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .25rem; } h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; }
p { margin: .5rem 0; } .soft, figcaption { color: var(--soft); font-size: .9rem; }
figure { margin: 1rem 0; overflow-x: auto; } svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
th, td { padding: .35rem .9rem .35rem 0; text-align: left; border-bottom: 1px solid var(--line);
  vertical-align: middle; }
th { color: var(--soft); font-weight: 600; font-size: .85rem; }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; padding: 1rem;
  overflow-x: auto; font-size: .85rem; }
td img { height: 40px; width: 40px; object-fit: cover; border-radius: 3px; margin-right: 4px;
  vertical-align: middle; }
.sample { display: flex; align-items: center; gap: .5rem; } .sample span { white-space: nowrap; }
"""


def page(title: str, body: str) -> str:
    """A whole HTML page.

    >>> page("Run <1>", "<p>x</p>").splitlines()[3]
    '<title>Run &lt;1&gt;</title>'
    """
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            f"<body>{body}</body>",
            "</html>\n",
        ]
    )


def table(rows: Iterable[Mapping[str, Any]], names: Mapping[str, str]) -> str:
    """An HTML table.

    Args:
        rows: one mapping per row; a value that is `Markup` is already HTML.
        names: the columns: key to heading.

    >>> table([{"way": 5}], {"way": "Way"}).count("<td")
    1
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in names.values())
    lines = ["".join(_cell(row.get(key)) for key in names) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def framed(content: str, caption: str) -> str:
    """HTML as a figure with a line below it.

    >>> framed("<svg></svg>", "A & B")
    '<figure><svg></svg><figcaption>A &amp; B</figcaption></figure>'
    """
    return f"<figure>{content}<figcaption>{escape(caption)}</figcaption></figure>"


class Markup(str):
    """Text that is already HTML."""


def _cell(value: Any) -> str:
    text = value if isinstance(value, Markup) else escape("" if value is None else str(value))
    return f"<td>{text}</td>"


def shorten(name: str, most: int = 25) -> str:
    """A name that fits next to its image; it keeps the end, which often distinguishes names.

    >>> shorten("canadian syllabics carrier je")
    'canadian syl…s carrier je'
    """
    half, name = most // 2, printable(name)
    return name if len(name) <= most else f"{name[:half]}…{name[-half:]}"


def short_names(names: Sequence[str], most: int = 34) -> list[str]:
    """Names that fit next to their images, with as few equal ones as possible.

    >>> short_names(["ant", "a letter of many words medial form", "a letter of other words medial form"], 20)
    ['ant', 'a lett…many w…l form', 'a lett…other …l form']
    """
    names = [printable(name) for name in names]
    short = [shorten(name, most) for name in names]
    for clash in {name for name in short if short.count(name) > 1}:
        same = [i for i, name in enumerate(short) if name == clash]
        letters = enumerate(zip(*(names[i] for i in same), strict=False))
        shared = next((place for place, those in letters if len(set(those)) > 1), 0)
        for i in same:
            short[i] = f"{names[i][: min(6, shared)]}…{shorten(names[i][shared:], most - 7)}"
    return short


def larger(image: UInt8[np.ndarray, "C H W"], least: int = 96) -> UInt8[np.ndarray, "C h w"]:
    """A small image enlarged to about this width by repeating its pixels, so that a browser does not blur it.

    >>> larger(np.zeros((1, 32, 32), np.uint8)).shape
    (1, 96, 96)
    """
    times = max(1, round(least / image.shape[-1]))
    return image.repeat(times, -1).repeat(times, -2)


def channels_last(image: UInt8[np.ndarray, "C H W"]) -> UInt8[np.ndarray, "H W *colours"]:
    """An image as Pillow and matplotlib take it: **[H, W, 3]**, or **[H, W]** with one channel.

    >>> channels_last(np.zeros((3, 4, 5), np.uint8)).shape, channels_last(np.zeros((1, 4, 5), np.uint8)).shape
    ((4, 5, 3), (4, 5))
    """
    return image[0] if len(image) == 1 else image.transpose(1, 2, 0)


def image_uri(image: UInt8[np.ndarray, "C H W"]) -> str:
    """An image of one or three channels as a data URI for an ``<img>`` or an SVG.

    >>> image_uri(np.zeros((1, 2, 2), np.uint8))[:22]
    'data:image/png;base64,'
    """
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(channels_last(image))).save(stream, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
