"""The picture of ``known_classes.py``: points over no relations against the number of known classes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Readable on white and on black.
INK = "#768390"
COLORS = {"true": "#2f81f7", "coarse": "#199e74", "by looks": "#b08800", "shuffled": "#e5534b"}
TITLES = {"judged": "belief judged (the default)", "believed": "relations taken as true"}
LABELS = {"true": "WordNet paths", "coarse": "coarse paths", "by looks": "by looks", "shuffled": "shuffled"}
GAP = 0.062  # between labels, as a share of the axes' height


def draw(path: Path, result: Mapping[str, Any]) -> Figure:
    """Write the picture as a PNG without background, one panel for each belief."""
    figure = Figure(figsize=(10, 4.4), dpi=160, layout="constrained")
    panels = figure.subplots(1, len(TITLES), sharey=True)
    rows = result["rows"]
    sizes = sorted({row["known"] for row in rows})
    low = min(row["over_none"] - row["ci95"] for row in rows)
    high = max(row["over_none"] + row["ci95"] for row in rows)
    room = 0.06 * (high - low)
    for axes, (belief, title) in zip(panels, TITLES.items(), strict=True):
        axes.set(xscale="log", xlim=(sizes[0] * 0.92, sizes[-1] * 6.8), ylim=(low - room, high + room))
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.set_xticks([], minor=True)
        axes.set_title(title, color=INK, fontsize=11)
        axes.set_xlabel("known classes", color=INK)
        axes.plot([sizes[0], sizes[-1]], [0, 0], color=INK, lw=1, ls=(0, (4, 3)), zorder=1)
        _lines(axes, [row for row in rows if row["belief"] == belief], high - low + 2 * room)
        axes.grid(axis="y", color=INK, alpha=0.22, lw=0.6)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set(color=INK, bounds=(sizes[0], sizes[-1]))
        axes.tick_params(colors=INK, length=0)
    without, episodes = result["without"]["accuracy"], result["episodes"]
    panels[0].set_ylabel(f"points over no relations ({without:.1f} %)", color=INK)
    classes = {"val": "validation"}.get(result["split"], result["split"])
    note = f"{classes} classes, 5-way 1-shot, inductive, {episodes:,} episodes; bands: 95 % intervals"
    figure.supxlabel(note, color=INK, fontsize=9)
    figure.savefig(path, transparent=True)
    return figure


def _lines(axes: Axes, rows: list[Mapping[str, Any]], height: float) -> None:
    """One line per kind of relations with its interval, and its name and last value at the end."""
    ends = {}
    for kind, color in COLORS.items():
        those = sorted((row for row in rows if row["relations"] == kind), key=lambda row: row["known"])
        x, y, half = ([row[key] for row in those] for key in ("known", "over_none", "ci95"))
        low, high = ([a + sign * b for a, b in zip(y, half, strict=True)] for sign in (-1, 1))
        axes.fill_between(x, low, high, color=color, alpha=0.22, lw=0)
        axes.plot(x, y, color=color, lw=2, marker="o", ms=3.5)
        ends[kind] = x[-1], y[-1]
    places = apart({kind: y for kind, (_, y) in ends.items()}, GAP * height)
    for kind, (x, y) in ends.items():
        text = f"{LABELS[kind]} {y:+.1f}".replace("-", "−")
        axes.annotate(text, (x * 1.12, places[kind]), va="center", fontsize=9.5, color=COLORS[kind])


def apart(places: dict[str, float], gap: float) -> dict[str, float]:
    """Places moved up and down so that each is at least ``gap`` from the next."""
    order = sorted(places, key=places.__getitem__)
    found = [places[name] for name in order]
    for _ in range(100):
        for k in range(len(found) - 1):
            short = gap - (found[k + 1] - found[k])
            if short > 0:
                found[k] -= short / 2
                found[k + 1] += short / 2
    return dict(zip(order, found, strict=True))
