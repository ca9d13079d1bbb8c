"""The picture of ``joint_gain.py``: heat maps of the gain, before and after."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure

INK = "#768390"  # readable on white and on black
COLORS = LinearSegmentedColormap.from_list("gain", ["#c8371b", "#f4f1ea", "#1f6feb"])
LOSS, GAIN = -8.0, 12.0  # points at the ends of the colours


def draw(path: Path, result: Mapping[str, Any]) -> Figure:
    """Write the picture as a PNG without background: a row of maps per shot, a column per graph."""
    graphs = result["graphs"]
    shots = sorted({row["shot"] for rows in graphs.values() for row in rows})
    figure = Figure(figsize=(9.6, 2.5 * len(shots) + 1), dpi=160, layout="constrained")
    panels = figure.subplots(len(shots), len(graphs), squeeze=False, sharex=True, sharey=True)
    norm = TwoSlopeNorm(0, LOSS, GAIN)
    for line, shot in zip(panels, shots, strict=True):
        for axes, (name, rows) in zip(line, graphs.items(), strict=True):
            _map(axes, [row for row in rows if row["shot"] == shot], norm)
            axes.set_title(f"{name}, {shot}-shot", color=INK, fontsize=10)
        line[0].set_ylabel("classes", color=INK)
    for axes in panels[-1]:
        axes.set_xlabel("queries per class", color=INK)
    classes = {"val": "validation"}.get(result["split"], result["split"])
    note = f"points of joint over inductive accuracy, {classes} classes, {result['episodes']:,} episodes each"
    figure.supxlabel(note, color=INK, fontsize=9)
    figure.savefig(path, transparent=True)
    return figure


def _map(axes: Axes, rows: list[Mapping[str, Any]], norm: TwoSlopeNorm) -> None:
    ways, queries = (sorted({row[name] for row in rows}) for name in ("way", "query"))
    gains = np.zeros((len(ways), len(queries)))
    for row in rows:
        place = ways.index(row["way"]), queries.index(row["query"])
        gains[place] = row["gain"]
        text = f"{row['gain'] + 0.0:+.1f}".replace("-", "−")
        axes.text(place[1], place[0], text, ha="center", va="center", fontsize=9, color="#1b1f23")
    axes.imshow(gains, cmap=COLORS, norm=norm, aspect="auto")
    axes.set_xticks(range(len(queries)), [str(query) for query in queries])
    axes.set_yticks(range(len(ways)), [str(way) for way in ways])
    axes.tick_params(colors=INK, length=0)
    axes.spines[:].set_visible(False)
