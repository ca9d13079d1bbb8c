"""The page's tables and pictures as HTML; every text that users or files bring is escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from functools import lru_cache
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from fewshot.core.class_names import Meaning
from fewshot.core.errors import InputError
from fewshot.core.untrusted.plain import LARGEST_IMAGE, read_plain
from fewshot.data.readers.images import decode
from fewshot.model.suggest import Candidate, Suspect
from fewshot.page.answers import Answer, Answers

THUMBNAIL = 72  # pixels
PER_PAGE = 50  # answers
CLASSES_PER_PAGE = 25
SHOWN = 6  # pictures of a class
STYLE = """
.fs table { border-collapse: collapse; width: 100%; }
.fs table, .fs tr, .fs td, .fs th { border: 0 !important; }
.fs tr { border-bottom: 1px solid #8884 !important; }
.fs td, .fs th { padding: .25rem .6rem; text-align: left; }
.fs { overflow-x: auto; }
#pictures, #folder { max-height: 24rem; overflow-y: auto !important; }
.fs img { display: inline-block !important; width: 2.8rem; min-width: 2.8rem; height: 2.8rem; }
.fs img { object-fit: cover; border-radius: 4px; margin: 1px; }
.fs .soft { opacity: .65; }
.fs tr.changed { background: #ffe9a855; }
.fs .bar { display: inline-block; height: .5rem; background: #128277; border-radius: 3px; }
"""


def page_of(count: int, page: int, per_page: int) -> range:
    """The places that a page shows, of this many; the last page if there is no such page.

    >>> page_of(120, 3, 50), page_of(120, 9, 50), page_of(0, 1, 50)
    (range(100, 120), range(100, 120), range(0, 0))
    """
    first = per_page * (min(max(page, 1), max(1, -(-count // per_page))) - 1)
    return range(first, min(first + per_page, count))


def classes_table(files: Mapping[str, Sequence[Path]], meanings: Mapping[str, Meaning], page: int = 1) -> str:
    """One page of the classes, with their pictures and, if names are looked up, what each was taken for."""
    rows, looked_up = [], any(meaning.path for meaning in meanings.values())
    names = list(files)
    shown = page_of(len(names), page, CLASSES_PER_PAGE)
    for name in names[shown.start : shown.stop]:
        own = files[name]
        pictures = "".join(thumbnail(file) for file in own[:SHOWN])
        said = taken_for(meanings.get(name)) if looked_up else ""
        more = f" <span class=soft>and {len(own) - SHOWN} more</span>" if len(own) > SHOWN else ""
        rows.append(
            f"<tr><td><b>{escape(name)}</b><br><span class=soft>{said}</span></td>"
            f"<td>{pictures or '<span class=soft>no picture: by its name</span>'}{more}</td></tr>"
        )
    note = ""
    if len(shown) < len(names):
        note = f"<p class=soft>classes {shown.start + 1} to {shown.stop} of {len(names)}</p>"
    return f"<div class=fs>{note}<table>{''.join(rows)}</table></div>"


def taken_for(meaning: Meaning | None) -> str:
    """What a class's name was taken for, in a few words.

    >>> taken_for(Meaning(("entity", "bird", "crow"), phrase="crow"))
    'bird/crow'
    """
    if meaning is None or not meaning.path:
        return "name not found"
    return escape("/".join(meaning.path[-2:])) + (" (a guess)" if meaning.guess else "")


def answers_table(answers: Answers, page: int = 1) -> str:
    """One page of the answers."""
    if not answers.rows:
        return "<div class=fs><p class=soft>No pictures yet.</p></div>"
    shown = page_of(len(answers.rows), page, PER_PAGE)
    rows = "".join(_answer(row) for row in answers.rows[shown.start : shown.stop])
    page, pages = shown.start // PER_PAGE + 1, -(-len(answers.rows) // PER_PAGE)
    changed = sum(row.changed for row in answers.rows)
    note = f", {changed} changed" if changed else ""
    return (
        f"<div class=fs><p class=soft>{len(answers.rows)} pictures, page {page} of {pages}{note}</p><table>"
        "<tr><th></th><th>picture</th><th>class</th><th>probability</th><th>90 % sure</th>"
        f"<th>none of these</th><th>group</th></tr>{rows}</table></div>"
    )


def reasons_table(rows: Sequence[tuple[str, float, float, float]]) -> str:
    """The parts of the logits of the likeliest classes."""
    lines = "".join(
        f"<tr><td>{escape(name)}</td><td>{own:+.2f}</td><td>{known:+.2f}</td><td>{others:+.2f}</td></tr>"
        for name, own, known, others in rows[:8]
    )
    return (
        "<div class=fs><table><tr><th>class</th><th>its pictures</th><th>known classes</th>"
        f"<th>the other classes</th></tr>{lines}</table></div>"
    )


def suggestions_table(suspects: Sequence[Suspect], candidates: Sequence[Candidate]) -> str:
    """What to check, and what to label next."""
    check = "".join(
        f"<tr><td>{thumbnail(one.file)}</td><td>{escape(one.name)}/{escape(one.file.name)}</td>"
        f"<td>{escape(one.looks_like)}</td><td>{one.probability:.2f}</td></tr>"
        for one in suspects
    )
    label = "".join(
        f"<tr><td>{thumbnail(one.file)}</td><td>{escape(one.file.name)}</td>"
        f"<td>{escape(one.looks_like)}</td><td>{one.probability:.2f}</td></tr>"
        for one in candidates
    )
    head = "<tr><th></th><th>picture</th><th>looks like</th><th>{}</th></tr>"
    wrong = f"<table>{head.format('wrong')}{check}</table>" if check else "<p>No label looks wrong.</p>"
    return (
        f"<div class=fs><b>Labels to check</b>{wrong}<b>To label next</b>"
        f"<table>{head.format('probability')}{label}</table></div>"
    )


def framed(page: str) -> str:
    """A page of its own, within the page."""
    return f'<iframe style="width:100%;height:40rem;border:0" srcdoc="{escape(page, quote=True)}"></iframe>'


def python_line(name: str, folder: Path) -> str:
    """The same as the page in Python."""
    return (
        "from fewshot import GraphFewShot\nfrom fewshot.model.predict import predict\n\n"
        f'model = GraphFewShot.load({name!r})\nfound = predict(model, {str(folder)!r}, "new/")\n'
    )


def message(text: str) -> str:
    """A line for the user."""
    return f'<div class=fs id="line">{escape(text)}</div>'


def thumbnail(file: Path) -> str:
    """A small picture, inline."""
    try:
        data = _encoded(str(file), file.stat().st_mtime_ns)
    except (InputError, OSError):
        return "<span class=soft>?</span>"
    return f'<img width={THUMBNAIL} height={THUMBNAIL} alt="" src="data:image/jpeg;base64,{data}">'


@lru_cache(maxsize=4096)
def _encoded(file: str, _changed: int) -> str:
    pixels = decode(read_plain(file, LARGEST_IMAGE), file, 3, THUMBNAIL, rough=True)
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(stream, "JPEG", quality=80)
    return base64.b64encode(stream.getvalue()).decode()


def _answer(row: Answer) -> str:
    mark = " class=changed" if row.changed else ""
    bar = f'<span class=bar style="width:{4 * row.probability:.2f}rem"></span>'
    cells = (
        thumbnail(row.file),
        escape(row.file.name),
        f"<b>{escape(row.name)}</b>",
        f"{row.probability:.3f} {bar}",
        escape(", ".join(row.sure)),
        f"{row.none:.2f}",
        escape(row.group),
    )
    return f"<tr{mark}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
