"""The curves of time and memory as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fewshot.core.files import replacing
from fewshot.report.class_graph import ACCENT, INK, SOFT
from fewshot.report.comparison_chart import AMBER

LETTERS = {"classes": "N", "known": "C", "queries": "M", "features": "D", "episodes": "B"}
COLORS = {"inductive": INK, "joint": ACCENT}  # and finding the neighbours
MARKS = {"marker": "o", "ms": 4, "lw": 1.5}
LINES = {"dense": {"ls": (0, (4, 2)), "mfc": "white"}, "sparse": {"ls": "-"}}
LEAST = 0.1  # MiB; less cannot be distinguished from nothing


def draw(path: Path, curves: Sequence[dict[str, Any]], notes: Sequence[str]) -> None:
    """Time above, memory below; one column per thing that grows; notes on the first column."""
    columns = list(dict.fromkeys(curve["along"] for curve in curves))
    figure = Figure(figsize=(3.2 * len(columns), 6.4), dpi=150, facecolor="white", layout="constrained")
    grid = figure.subplots(2, len(columns), sharex="col", sharey="row")
    for along, (time, memory) in zip(columns, grid.T, strict=True):
        here = [curve for curve in curves if curve["along"] == along]
        for curve in here:
            x = [point[along] for point in curve["points"]]
            name = f"{curve['mode']}, {curve['edges']}" if curve["mode"] in COLORS else curve["mode"]
            style = {"color": COLORS.get(curve["mode"], AMBER), **MARKS, **LINES[curve["edges"]]}
            time.plot(x, [point["seconds"]["median"] for point in curve["points"]], label=name, **style)
            memory.plot(x, [max(point["bytes"] / 2**20, LEAST) for point in curve["points"]], **style)
        first = here[0]["points"][0]
        fixed = [name for name in LETTERS if name != along and first.get(name)]  # C = 0 goes without saying
        others = ", ".join(f"{LETTERS[name]} = {first[name]:,}" for name in fixed)
        title = "known classes" if along == "known" else along
        time.set_title(f"{title} {LETTERS[along]}", color=INK, fontsize=11, weight="bold", pad=18)
        time.text(0.5, 1.03, others, transform=time.transAxes, ha="center", color=SOFT, fontsize=8.5)
    for axes in grid.flat:
        _plain(axes)
    for axes, label, note in zip(
        grid[:, 0], ("seconds", "MiB beyond inputs and outputs"), notes, strict=True
    ):
        axes.set_ylabel(label, color=INK)
        place = {"transform": axes.transAxes, "ha": "left", "va": "top"}
        axes.text(0.04, 0.97, f"from 1,000 classes on\n{note}", fontsize=8.5, color=SOFT, **place)
    for axes in grid.flat:
        _proportion(axes)
    handles, names = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False, labelcolor=INK)
    with replacing(path) as temporary:
        figure.savefig(temporary)


def _plain(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.minorticks_off()
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(SOFT)
    axes.tick_params(colors=SOFT, labelsize=9, labelleft=axes.get_subplotspec().is_first_col())


def _proportion(axes: Axes) -> None:
    """A guide below the curves: proportional growth is parallel to it."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    style = {"color": SOFT, "lw": 0.9, "ls": ":", "zorder": 0, "label": "in proportion"}
    axes.plot([left, right], [bottom, bottom * right / left], **style)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
