"""Formulas as MathML when the site is built, with a font for them: they need no script and no network."""

import html
import re
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree

from fontTools import subset
from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

# What `pymdownx.arithmatex` makes of \(…\), and of $$…$$.
FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\(?P<open>[(\[])(?P<tex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)
# STIX Two Math (SIL Open Font License) as it comes with ziamath: without such a font a browser cannot stretch
# braces and hats, nor place indices.
FONT = Path(find_spec("ziamath").origin).parent / "fonts" / "STIXTwoMath-Regular.ttf"
LETTERS = [  # first and last of each range of Unicode that the site's font has
    (0x20, 0x7E), (0xA0, 0xFF), (0x2C6, 0x2DD), (0x300, 0x338),  # Latin and accents
    (0x391, 0x3F6), (0x1D434, 0x1D467), (0x1D49C, 0x1D4CF), (0x1D6A4, 0x1D755),  # Greek, italics, script
    (0x2010, 0x2044), (0x2102, 0x2134), (0x2190, 0x230B), (0x23DC, 0x23E1), (0x27E8, 0x27E9),  # signs
]  # fmt: skip


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Add the font to the site."""
    files.append(File.generated(config, "stylesheets/formulas.woff", content=font()))
    return files


def on_page_content(content: str, **_: Any) -> str:
    """Put MathML in the place of each formula of a page, those of docstrings included."""
    return FORMULA.sub(_replace, content)


def mathml(tex: str, *, block: bool = False) -> str:
    r"""A formula as MathML.

    Args:
        tex: the formula, as TeX without its delimiters.
        block: on a line of its own; default False, within a line of text.

    Raises:
        ValueError: it has something that the converter does not know.

    >>> mathml("p_i")
    '<math display="inline"><mrow><msub><mi>p</mi><mi>i</mi></msub></mrow></math>'
    >>> mathml(r"\nonsense x")
    Traceback (most recent call last):
    ...
    ValueError: formula: expected TeX that latex2mathml knows, got \nonsense x
    """
    tex = " ".join(tex.split())
    several = r"\\" in tex and r"\begin" not in tex  # lines, aligned at their &, as Sphinx reads them
    try:
        found = convert(
            rf"\begin{{split}}{tex}\end{{split}}" if several else tex, display="block" if block else "inline"
        )
        root = ElementTree.fromstring(found.replace(' xmlns="http://www.w3.org/1998/Math/MathML"', ""))
        for element in root.iter():
            _repair(element)
        if "\\" in "".join(root.itertext()):
            raise ValueError("a command is left")
    except Exception as error:
        raise ValueError(f"formula: expected TeX that latex2mathml knows, got {tex}") from error
    return ElementTree.tostring(root, encoding="unicode")


def _repair(element: ElementTree.Element) -> None:
    """Set one element right where latex2mathml and TeX differ."""
    text, own = element.text or "", element.attrib
    if element.tag in ("mi", "mo"):
        if len(text) > 1 and text.isalpha():  # \log, \operatorname{logit}
            element.tag = "mo"
            element.attrib = {"lspace": "0.17em", "rspace": "0.17em"}
        elif (
            text.lstrip("\\") in ("‖", "|", "lVert", "rVert") and text != "|"
        ):  # a backslash is left after \Big
            element.text = "‖"
            own.setdefault("stretchy", "true" if "minsize" in own else "false")
        elif text == "|" and own.get("stretchy") == "false":
            own |= {"lspace": "0", "rspace": "0"}
    elif element.tag == "mover" and element[1].text == "^" and "accent" not in own:  # \widehat
        own["accent"] = "true"
        element[0].attrib["class"] = "wide"  # the style sheet draws the hat: no font has one of every width


def _replace(found: re.Match[str]) -> str:
    block = found["open"] == "["
    formula = mathml(html.unescape(found["tex"]), block=block)
    return f'<div class="formula">{formula}</div>' if block else formula


def font() -> bytes:
    """The font for formulas as WOFF, with the letters that formulas need."""
    options = subset.Options(flavor="woff", layout_features=["*"])
    whole = subset.load_font(str(FONT), options)
    chosen = subset.Subsetter(options)
    chosen.populate(unicodes=[code for first, last in LETTERS for code in range(first, last + 1)])
    chosen.subset(whole)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "formulas.woff"
        subset.save_font(whole, str(file), options)
        return file.read_bytes()
