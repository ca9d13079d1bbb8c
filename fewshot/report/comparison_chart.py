"""The comparison of methods as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fewshot.core.errors import InputError
from fewshot.core.files import replacing
from fewshot.core.modes import Mode
from fewshot.report.class_graph import ACCENT, INK, SOFT

EXTENSIONS = (".png", ".svg", ".pdf")
AMBER = "#b35900"


def check_extension(path: Path) -> None:
    """Raise an InputError for a file that `save_comparison` could not write."""
    if path.suffix.lower() not in EXTENSIONS:
        raise InputError(f"out: expected a file that ends in {', '.join(EXTENSIONS)}, got {path.name!r}")


def save_comparison(path: str | Path, rows: Sequence[Mapping[str, Any]], title: str = "") -> Path:
    """Draw each method's accuracy, and its paired difference from prototypes, with their 95 % intervals.

    The methods are listed with the best first, in one block per mode and kind of relations: what sees more
    should not be compared with what sees less.

    Args:
        path: the file; it is written atomically.
        rows: from `fewshot.evaluation.compare.Compared.row`, prototypes first.
        title: above the picture; default none.

    Raises:
        InputError: another extension than .png, .svg or .pdf.
    """
    path = Path(path)
    check_extension(path)
    blocks = blocks_of(rows)
    lines = len(rows) + 1.4 * len(blocks)
    figure = Figure(figsize=(10, 1.5 + 0.27 * lines), dpi=160, facecolor="white", layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.15, 1))
    y, ticks = 0.0, {}
    heading = {
        "color": INK,
        "weight": "bold",
        "va": "center",
        "bbox": {"fc": "white", "ec": "none", "pad": 1.5},
    }
    for title_of_block, block in blocks.items():
        left.text(0, y, title_of_block, transform=left.get_yaxis_transform(), **heading)
        y += 1
        for row in block:
            ticks[y] = f"{row['title']} ✗" if row["audit"] else row["title"]
            _point(left, y, row["accuracy"], row["ci95"], _color(row), "{:.1f}")
            if row["difference"] is not None:
                _point(right, y, row["difference"], row["difference_ci95"], _color(row), "{:+.1f}")
            y += 1
        y += 0.4
    left.set_yticks(list(ticks), list(ticks.values()), parse_math=False)
    left.set_ylim(y - 0.4, -0.7)
    left.axvline(rows[0]["accuracy"], color=SOFT, lw=0.8, ls=":", zorder=0)
    right.axvline(0, color=SOFT, lw=0.8, ls=":", zorder=0)
    left.set_xlabel("accuracy, %, with its 95 % interval")
    right.set_xlabel(f"points above {rows[0]['title']}, paired by episode")
    for axes in (left, right):
        _plain(axes)
    figure.suptitle(title, color=INK, fontsize=11, parse_math=False)
    if any(row["audit"] for row in rows):
        note = "✗ The result depends on what the method must not see; the audit column says on what."
        figure.supxlabel(note, color=AMBER, fontsize=9)
    with replacing(path) as temporary, matplotlib.rc_context({"svg.hashsalt": "fewshot"}):
        figure.savefig(temporary)
    return path


def blocks_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The rows of each block by its heading, the best first: without relations, then with them.

    >>> rows = [{"mode": "joint", "accuracy": 1.0}, {"mode": "joint", "accuracy": 2.0, "relations": "looks"}]
    >>> list(blocks_of(rows))
    ['Joint: all queries together', 'Joint: all queries together, with relations (looks)']
    """
    kinds = dict.fromkeys(row.get("relations", "none") for row in rows)
    blocks = {}
    for kind in sorted(kinds, key=lambda kind: kind != "none"):
        for mode in Mode:
            block = [r for r in rows if (r["mode"], r.get("relations", "none")) == (mode, kind)]
            note = "" if kind == "none" else f", with relations ({kind})"
            if block:
                blocks[mode.heading + note] = sorted(block, key=lambda row: -row["accuracy"])
    return blocks


def _color(row: Mapping[str, Any]) -> str:
    if row["audit"]:
        return AMBER
    return {"class-graph": ACCENT, "prototypes": SOFT}.get(row["method"], INK)


def _point(axes: Axes, y: float, x: float, half: float | None, color: str, form: str) -> None:
    """A dot with its interval, and its value to the right."""
    half = half or 0.0
    axes.errorbar(x, y, xerr=half, fmt="o", ms=5, color=color, elinewidth=1.6, capsize=2.5)
    text = form.format(round(x, 1) + 0.0).replace("-", "−")  # + 0.0: no minus zero
    axes.annotate(
        text, (x + half, y), (5, 0), textcoords="offset points", va="center", fontsize=8.5, color=color
    )


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(SOFT)
    axes.tick_params(axis="y", length=0, colors=INK, labelsize=9.5)
    axes.tick_params(axis="x", colors=SOFT, labelsize=9)
    axes.xaxis.label.set_color(SOFT)
    axes.grid(axis="x", alpha=0.25)
    axes.margins(x=0.12)
