"""The class graph of an episode as a PNG."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.path import Path as PlotPath

from fewshot.report.class_graph_layout import (
    Place,
    curve,
    extent,
    lines_of,
    places,
    radius,
    span,
    thumbnail_size,
)
from fewshot.report.html import channels_last
from fewshot.report.picture import ACCENT, INK, SOFT, Picture, caption, known_caption, labels, listed, strokes

DPI = 160
ALIGN = {"start": "left", "middle": "center", "end": "right"}


def write_png(path: Path, picture: Picture) -> None:
    """Draw the graph as a PNG on white, 1600 pixels wide, wider for more than 34 classes."""
    n = len(picture.names)
    spots, side, half = places(picture.dependencies), thumbnail_size(n), span(n) / 2
    rows = [listed(picture, i) for i in range(n)]
    low, high = extent(spots, max(map(len, rows)))
    inches = radius(n) / DPI  # of one unit
    lines = [caption(picture), *filter(None, [known_caption(picture)])]
    below = 0.2 + 0.2 * len(lines)  # inches
    size = (2 * half * inches, (high - low) * inches + below)
    figure = Figure(figsize=size, dpi=DPI, facecolor="white")
    foot = below / figure.get_figheight()
    axes = figure.add_axes((0, foot, 1, 1 - foot))
    axes.set(xlim=(-half, half), ylim=(low, high))
    axes.set_axis_off()
    for j, i, strength, _ in strokes(picture):
        arrow = FancyArrowPatch(
            path=PlotPath(curve(spots[j], spots[i], n), [PlotPath.MOVETO, PlotPath.CURVE3, PlotPath.CURVE3]),
            arrowstyle="-|>",
            mutation_scale=(8 + 7 * strength) * (1 if n <= 12 else 0.7),
            linewidth=(0.5 + 3.5 * strength) * (1 if n <= 12 else 0.6),
            color=ACCENT,
            alpha=0.3 + 0.65 * strength,
        )
        axes.add_patch(arrow)
    for spot, name, image, heard in zip(spots, labels(picture), picture.images, rows, strict=True):
        _list(axes, spot, heard)
        pixels = channels_last(image)
        height, width = pixels.shape[:2]
        x, y = (side / 2 * length / max(height, width) for length in (width, height))
        box = (spot.x - x, spot.x + x, spot.y - y, spot.y + y)
        axes.imshow(pixels, extent=box, cmap="gray", vmin=0, vmax=255, zorder=3, aspect="auto")
        corner = (box[0], box[2])
        axes.add_patch(
            Rectangle(corner, box[1] - box[0], box[3] - box[2], fill=False, ec=SOFT, lw=0.8, zorder=4)
        )
        axes.text(
            *spot.label,
            name,
            ha=ALIGN[spot.anchor],
            va="center",
            rotation=spot.turn,
            rotation_mode="anchor",
            fontsize=11 if n <= 12 else 9,
            color=INK,
            parse_math=False,
        )
    axes.set(xlim=(-half, half), ylim=(low, high))
    text = "\n".join(lines)
    figure.text(0.5, 0.4 * foot, text, ha="center", fontsize=9, color=SOFT)
    figure.savefig(path, format="png")


def _list(axes: Axes, spot: Place, lines: Sequence[str]) -> None:
    """The known classes next to a label, each after a dashed line; the last line, the belief, has none."""
    for k, line in enumerate(lines_of(spot, len(lines))):
        if k < len(lines) - 1:
            axes.plot(*zip(*line.dash, strict=True), color=SOFT, lw=1, ls=(0, (3, 2)))
        align = ALIGN[line.anchor]
        axes.text(*line.text, lines[k], ha=align, va="center", fontsize=8.5, color=SOFT, parse_math=False)
