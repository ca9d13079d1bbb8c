"""The class graph of an episode as a picture (PNG), a page (HTML) or data (GraphML, JSON)."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import networkx
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.path import Path as PlotPath

from fewshot.core.errors import InputError
from fewshot.core.files import replacing
from fewshot.report.class_graph_layout import Point, curve, extent, places, radius, span, thumbnail_size
from fewshot.report.html import framed, image_uri, page, short_names

DECIMALS = 4
DPI = 160  # of a PNG
SVG_SCALE = 0.605  # ratio of an SVG's pixels to a PNG's
INK, SOFT, ACCENT = "#1c2128", "#667080", "#1f6feb"


@dataclass(frozen=True)
class Picture:
    """A class graph to draw.

    Args:
        names: one per class.
        dependencies: **[N, N]**, row i: how much class i listens to each class j.
        images: one per class, uint8 **[C, H, W]** with 1 or 3 channels.

    Raises:
        InputError: lengths that do not fit.
    """

    names: Sequence[str]
    dependencies: Float[np.ndarray, "N N"]
    images: Sequence[UInt8[np.ndarray, "_ _ _"]]

    def __post_init__(self) -> None:
        n = len(self.names)
        if self.dependencies.shape != (n, n) or len(self.images) != n:
            raise InputError(
                f"dependencies: expected [{n}, {n}] and {n} images, one per class, "
                f"got {list(self.dependencies.shape)} and {len(self.images)}"
            )

    def edges(self, most: int | None = None) -> list[tuple[int, int, float]]:
        """The edges (from j, to i, weight), where i listens to j: all, or the strongest of each class.

        >>> image = np.zeros((1, 8, 8), np.uint8)
        >>> Picture(["a", "b"], np.array([[0.0, 1.0], [1.0, 0.0]]), [image, image]).edges()
        [(1, 0, 1.0), (0, 1, 1.0)]
        """
        found = []
        for i, row in enumerate(self.dependencies):
            strongest = [int(j) for j in np.argsort(-row, kind="stable") if j != i and row[j] > 0]
            found += [(j, i, round(float(row[j]), DECIMALS)) for j in strongest[:most]]
        return found


def save(path: str | Path, picture: Picture) -> Path:
    """Write a class graph atomically, in the format of the file's extension.

    Raises:
        InputError: another extension than .png, .html, .graphml or .json.
    """
    path = Path(path)
    check_extension(path)
    write = WRITERS[path.suffix.lower()]
    with replacing(path) as temporary:
        write(temporary, picture)
    return path


def check_extension(path: Path) -> None:
    """Raise an InputError for a file that `save` cannot write."""
    if path.suffix.lower() not in WRITERS:
        raise InputError(f"out: expected a file that ends in {', '.join(WRITERS)}, got {path.name!r}")


def to_networkx(picture: Picture) -> networkx.DiGraph:
    """All edges as a directed graph, from the class that is listened to to the one that listens."""
    graph = networkx.DiGraph()
    graph.add_nodes_from((i, {"name": name}) for i, name in enumerate(picture.names))
    graph.add_weighted_edges_from(picture.edges())
    return graph


def write_graphml(path: Path, picture: Picture) -> None:
    """Write all edges as GraphML; nodes have a ``name``, edges a ``weight``."""
    networkx.write_graphml_xml(to_networkx(picture), path)


def write_json(path: Path, picture: Picture) -> None:
    """Write the names, the dependencies as a matrix, and all edges as node-link data."""
    graph = to_networkx(picture)
    content = {
        "classes": list(picture.names),
        "dependencies": np.round(picture.dependencies.astype(float), DECIMALS).tolist(),
        **networkx.node_link_data(graph, edges="edges"),
    }
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def drawn_edges(picture: Picture) -> int:
    """How many of each class's edges a picture shows, so that it stays readable."""
    n = len(picture.names)
    return n - 1 if n <= 5 else 3 if n <= 12 else 2


def caption(picture: Picture) -> str:
    """The meaning of a picture's arrows, and which are drawn."""
    most, others = drawn_edges(picture), len(picture.names) - 1
    which = "All" if most >= others else f"The {most} strongest of each class's {others}"
    largest = max((weight for *_, weight in picture.edges()), default=0.0)
    return (
        "Arrows run from a class to the class that listens to it, wider and darker the more it listens "
        f"(widest: {largest:.2f}). {which} are drawn."
    )


def write_png(path: Path, picture: Picture) -> None:
    """Draw the graph as a PNG on white, 1600 pixels wide, wider for more than 34 classes."""
    n = len(picture.names)
    spots, side, half = places(picture.dependencies), thumbnail_size(n), span(n) / 2
    low, high = extent(spots)
    inches = radius(n) / DPI  # of one unit
    size = (2 * half * inches, (high - low) * inches + 0.4)
    figure = Figure(figsize=size, dpi=DPI, facecolor="white")
    foot = 0.4 / figure.get_figheight()
    axes = figure.add_axes((0, foot, 1, 1 - foot))
    axes.set(xlim=(-half, half), ylim=(low, high))
    axes.set_axis_off()
    for j, i, strength, _ in _strokes(picture):
        arrow = FancyArrowPatch(
            path=PlotPath(curve(spots[j], spots[i], n), [PlotPath.MOVETO, PlotPath.CURVE3, PlotPath.CURVE3]),
            arrowstyle="-|>",
            mutation_scale=(8 + 7 * strength) * (1 if n <= 12 else 0.7),
            linewidth=(0.5 + 3.5 * strength) * (1 if n <= 12 else 0.6),
            color=ACCENT,
            alpha=0.3 + 0.65 * strength,
        )
        axes.add_patch(arrow)
    for spot, name, image in zip(spots, _labels(picture), picture.images, strict=True):
        pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
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
            ha={"start": "left", "middle": "center", "end": "right"}[spot.anchor],
            va="center",
            rotation=spot.turn,
            rotation_mode="anchor",
            fontsize=11 if n <= 12 else 9,
            color=INK,
            parse_math=False,
        )
    axes.set(xlim=(-half, half), ylim=(low, high))
    figure.text(0.5, 0.4 * foot, caption(picture), ha="center", fontsize=9, color=SOFT)
    figure.savefig(path, format="png")


def _labels(picture: Picture) -> list[str]:
    """The names, shortened to the room that there is."""
    return short_names(picture.names, 27 if len(picture.names) <= 12 else 34)


def _strokes(picture: Picture) -> list[tuple[int, int, float, float]]:
    """The edges to draw (from, to, strength from 0 to 1, weight), the weakest first."""
    edges = picture.edges(drawn_edges(picture))
    largest = max((weight for *_, weight in edges), default=1.0)
    return sorted(((j, i, w / largest, w) for j, i, w in edges), key=lambda edge: edge[3])


def to_svg(picture: Picture) -> str:
    """The graph as an SVG element, in the colours of the page around it; see `fewshot.report.html`.

    Each class is a ``.node`` with its number in ``data-i``, each arrow an ``.edge`` with ``data-from`` and
    ``data-to``.
    """
    n = len(picture.names)
    spots, side = places(picture.dependencies), thumbnail_size(n)
    low, high = extent(spots)
    unit = SVG_SCALE * radius(n)
    across, down = unit * span(n), unit * (high - low)

    def at(point: Point) -> Point:
        return round(across / 2 + unit * point[0], 1), round(unit * (high - point[1]), 1)

    parts = []
    for j, i, strength, weight in _strokes(picture):
        first, bend, last = (at(point) for point in curve(spots[j], spots[i], n))
        parts.append(
            f'<g class="edge" data-from="{j}" data-to="{i}" opacity="{0.3 + 0.65 * strength:.2f}">'
            f"<title>{weight:.2f}</title>{_arrow(first, bend, last, strength)}</g>"
        )
    size = unit * side
    scrolled = "max-width: none" if radius(n) > radius(1) else ""  # shrunk to the page it would be unreadable
    short = _labels(picture)
    for i, (spot, name, image) in enumerate(zip(spots, picture.names, picture.images, strict=True)):
        (x, y), (lx, ly) = at((spot.x, spot.y)), at(spot.label)
        box = f'x="{x - size / 2:.1f}" y="{y - size / 2:.1f}" width="{size:.1f}" height="{size:.1f}"'
        parts.append(
            f'<g class="node" data-i="{i}"><title>{escape(name)}</title>'
            f'<image {box} href="{image_uri(image)}" preserveAspectRatio="xMidYMid slice"/>'
            f'<rect {box} rx="2" fill="none" stroke="var(--soft)"/>'
            f'<text x="{lx}" y="{ly}" text-anchor="{spot.anchor}" dominant-baseline="central" '
            f'transform="rotate({-spot.turn:.1f} {lx} {ly})">{escape(short[i])}</text></g>'
        )
    return (
        f'<svg viewBox="0 0 {across:.0f} {down:.0f}" width="{across:.0f}" style="{scrolled}" role="img" '
        f'aria-label="class graph" font-size="{15 if n <= 12 else 12.5}" fill="var(--ink)">'
        f"{''.join(parts)}</svg>"
    )


def _arrow(first: Point, bend: Point, last: Point, strength: float) -> str:
    """A curve and the triangle at its end."""
    (x1, y1), (x2, y2) = bend, last
    length = math.hypot(x2 - x1, y2 - y1)
    head = 6 + 6 * strength
    ux, uy = head * (x2 - x1) / length, head * (y2 - y1) / length
    x, y = x2 - ux, y2 - uy  # where the triangle begins
    wings = f"{x - 0.45 * uy:.1f},{y + 0.45 * ux:.1f} {x + 0.45 * uy:.1f},{y - 0.45 * ux:.1f}"
    return (
        f'<path d="M{first[0]},{first[1]} Q{x1},{y1} {x:.1f},{y:.1f}" fill="none" stroke="var(--accent)" '
        f'stroke-width="{0.7 + 3.8 * strength:.1f}"/>'
        f'<polygon points="{x2},{y2} {wings}" fill="var(--accent)"/>'
    )


def to_figure(picture: Picture) -> str:
    """The graph and its caption as an HTML figure."""
    return framed(to_svg(picture), caption(picture))


HOVER = """
<style>
.node { cursor: default; } svg.lit .edge { display: none; } svg.lit .edge.on { display: inline; opacity: 1; }
#weights { display: grid; grid-template-columns: 1fr 1fr; gap: 2rem; min-height: 6rem; }
#weights td { padding: .1rem .9rem .1rem 0; }
</style>
<div id="weights"><p class="soft">Hover over a class to see its weights.</p></div>
<script>
const {classes, dependencies} = JSON.parse(document.getElementById("graph").textContent);
const svg = document.querySelector("svg"), panel = document.getElementById("weights");
function list(title, weights) {
  const box = document.createElement("div"), table = document.createElement("table");
  box.append(Object.assign(document.createElement("h2"), {textContent: title}), table);
  weights.filter(([w]) => w > 0).sort((a, b) => b[0] - a[0]).forEach(([w, j]) => {
    const row = table.insertRow();
    row.insertCell().textContent = w.toFixed(3);
    row.insertCell().textContent = classes[j];
  });
  return box;
}
for (const node of svg.querySelectorAll(".node")) {
  const i = +node.dataset.i;
  node.addEventListener("mouseenter", () => {
    svg.classList.add("lit");
    svg.querySelectorAll(".edge").forEach(e =>
      e.classList.toggle("on", +e.dataset.from === i || +e.dataset.to === i));
    panel.replaceChildren(
      list(`${classes[i]} listens to`, dependencies[i].map((w, j) => [w, j])),
      list(`who listens to ${classes[i]}`, dependencies.map((row, j) => [row[i], j])));
  });
  node.addEventListener("mouseleave", () => svg.classList.remove("lit"));
}
</script>
"""


def write_html(path: Path, picture: Picture) -> None:
    """Write a self-contained page with the graph; hovering over a class shows all its weights."""
    data = {
        "classes": list(picture.names),
        "dependencies": np.round(picture.dependencies.astype(float), DECIMALS).tolist(),
    }
    # A "<" in a name could end the element; JSON reads its escape as the same character.
    text = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    body = (
        f"<h1>Class graph</h1>{to_figure(picture)}"
        f'<script type="application/json" id="graph">{text}</script>{HOVER}'
    )
    path.write_text(page("Class graph", body), encoding="utf-8")


WRITERS: dict[str, Callable[[Path, Picture], None]] = {
    ".png": write_png,
    ".html": write_html,
    ".graphml": write_graphml,
    ".json": write_json,
}
