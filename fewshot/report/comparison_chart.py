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

    Methods stand below each other, the best first, in a block for each mode, as modes that see more are not
    to be compared with modes that see less.

    Args:
        path: the file; it is written atomically.
        rows: as `fewshot.evaluation.compare.Compared.row` gives them, prototypes first.
        title: above the picture.

    Raises:
        InputError: another extension than .png, .svg or .pdf.
    """
    path = Path(path)
    check_extension(path)
    blocks = {mode: _best_first(rows, mode) for mode in Mode if _best_first(rows, mode)}
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
    for mode, block in blocks.items():
        left.text(0, y, mode.heading, transform=left.get_yaxis_transform(), **heading)
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


def _best_first(rows: Sequence[Mapping[str, Any]], mode: str) -> list[Mapping[str, Any]]:
    return sorted((row for row in rows if row["mode"] == mode), key=lambda row: -row["accuracy"])


def _color(row: Mapping[str, Any]) -> str:
    if row["audit"]:
        return AMBER
    return {"class-graph": ACCENT, "prototypes": SOFT}.get(row["method"], INK)


def _point(axes: Axes, y: float, x: float, half: float | None, color: str, form: str) -> None:
    """A dot with its interval, and the figure to the right of it."""
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
