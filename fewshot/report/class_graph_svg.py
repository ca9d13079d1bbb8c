"""The class graph of an episode as an SVG."""

import math
from collections.abc import Callable, Sequence
from html import escape

from fewshot.report.class_graph_layout import (
    Place,
    Point,
    curve,
    extent,
    lines_of,
    places,
    radius,
    span,
    thumbnail_size,
)
from fewshot.report.html import framed, image_uri
from fewshot.report.picture import Picture, caption, hover, known_caption, labels, listed, strokes

SVG_SCALE = 0.605  # ratio of an SVG's pixels to a PNG's


def to_svg(picture: Picture) -> str:
    """The graph as an SVG element, in the colours of the page around it; see `fewshot.report.html`.

    Each class is a ``.node`` with its number in ``data-i``, each arrow an ``.edge`` with ``data-from`` and
    ``data-to``.
    """
    n = len(picture.names)
    spots, side = places(picture.dependencies), thumbnail_size(n)
    rows = [listed(picture, i) for i in range(n)]
    low, high = extent(spots, max(map(len, rows)))
    unit = SVG_SCALE * radius(n)
    across, down = unit * span(n), unit * (high - low)

    def at(point: Point) -> Point:
        return round(across / 2 + unit * point[0], 1), round(unit * (high - point[1]), 1)

    parts = []
    for j, i, strength, weight in strokes(picture):
        first, bend, last = (at(point) for point in curve(spots[j], spots[i], n))
        parts.append(
            f'<g class="edge" data-from="{j}" data-to="{i}" opacity="{0.3 + 0.65 * strength:.2f}">'
            f"<title>{weight:.2f}</title>{_arrow(first, bend, last, strength)}</g>"
        )
    size = unit * side
    scrolled = "max-width: none" if radius(n) > radius(1) else ""  # shrunk to the page it would be unreadable
    short = labels(picture)
    for i, (spot, image) in enumerate(zip(spots, picture.images, strict=True)):
        (x, y), (lx, ly) = at((spot.x, spot.y)), at(spot.label)
        box = f'x="{x - size / 2:.1f}" y="{y - size / 2:.1f}" width="{size:.1f}" height="{size:.1f}"'
        parts.append(
            f'<g class="node" data-i="{i}"><title>{escape(hover(picture, i))}</title>'
            f'<image {box} href="{image_uri(image)}" preserveAspectRatio="xMidYMid slice"/>'
            f'<rect {box} rx="2" fill="none" stroke="var(--soft)"/>'
            f'<text x="{lx}" y="{ly}" text-anchor="{spot.anchor}" dominant-baseline="central" '
            f'transform="rotate({-spot.turn:.1f} {lx} {ly})">{escape(short[i])}</text>'
            f"{_list(spot, rows[i], at)}</g>"
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
    return framed(to_svg(picture), " ".join(filter(None, [caption(picture), known_caption(picture)])))


def _list(spot: Place, lines: Sequence[str], at: Callable[[Point], Point]) -> str:
    """The known classes next to a label, each after a dashed line; the last line, the belief, has none."""
    parts = []
    for k, line in enumerate(lines_of(spot, len(lines))):
        (x1, y), (x2, _), (x, _) = at(line.dash[0]), at(line.dash[1]), at(line.text)
        if k < len(lines) - 1:
            parts.append(f'<path d="M{x1},{y} H{x2}" stroke="var(--soft)" stroke-dasharray="4 3"/>')
        parts.append(
            f'<text class="known" x="{x}" y="{y}" text-anchor="{line.anchor}" dominant-baseline="central" '
            f'font-size="12" fill="var(--soft)">{escape(lines[k])}</text>'
        )
    return "".join(parts)
