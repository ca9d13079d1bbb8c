"""The positions of a class graph's classes and arrows: the geometry that its pictures share."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Point = tuple[float, float]


@dataclass(frozen=True)
class Place:
    """The position of a class and of its label, on a circle of radius 1 with y upwards."""

    x: float
    y: float
    label: tuple[float, float]
    anchor: str  # of the label: start, middle, end
    turn: float  # of the label, degrees anticlockwise


def radius(n: int) -> float:
    """The circle's radius in pixels, large enough for the images and labels of many classes."""
    return max(364.0, 10.5 * n)


def span(n: int) -> float:
    """The width of the picture in radii: the circle, and 436 pixels on either side of it for labels."""
    return 2 + 2 * 436 / radius(n)


def thumbnail_size(n: int) -> float:
    """The side of a class's image for a circle of radius 1, as large as n of them allow."""
    return min(0.42, 0.66 * 2 * math.sin(math.pi / max(n, 3)))


def places(dependencies: Float[np.ndarray, "N N"]) -> list[Place]:
    """Places for the classes on a circle, with classes that depend on each other as close as possible."""
    n = len(dependencies)
    order = spectral_order(dependencies) if n > 3 else list(range(n))
    start = math.pi if n == 2 else math.pi / 2  # two classes are side by side
    found = {i: _place(start - 2 * math.pi * position / n, n) for position, i in enumerate(order)}
    return [found[i] for i in range(n)]


def spectral_order(weights: Float[np.ndarray, "N N"]) -> list[int]:
    """An order that puts nodes with large weights between them next to each other (Fiedler, 1973).

    It is the order of the eigenvector of the second smallest eigenvalue of the graph's Laplacian.

    >>> spectral_order(np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]]))
    [0, 2, 1]
    """
    both = weights + weights.T
    np.fill_diagonal(both, 0.0)
    vector = np.linalg.eigh(np.diag(both.sum(1)) - both)[1][:, 1]
    found: list[int] = np.argsort(vector, kind="stable").tolist()
    return found if found[0] < found[-1] else found[::-1]  # an eigenvector has no sign


def _place(angle: float, n: int) -> Place:
    x, y, side = math.cos(angle), math.sin(angle), thumbnail_size(n)
    if n == 2:
        return Place(x, y, (x, y - side / 2 - 0.09), "middle", 0.0)
    if n > 12:  # too close for level labels: they continue the radius
        reach, left = 1 + side / 2 / max(abs(x), abs(y)) + 14 / radius(n), x < -1e-9
        turn = math.degrees(angle) - (180 if left else 0)
        return Place(x, y, (reach * x, reach * y), "end" if left else "start", turn)
    if abs(x) < 0.3:
        return Place(x, y, (x, y + math.copysign(side / 2 + 0.09, y)), "middle", 0.0)
    return Place(x, y, (x + math.copysign(side / 2 + 0.05, x), y), "start" if x > 0 else "end", 0.0)


@dataclass(frozen=True)
class Line:
    """The position of a line of text under or above a label, and of the dash before it."""

    dash: tuple[Point, Point]
    text: Point
    anchor: str


def lines_of(spot: Place, count: int) -> list[Line]:
    """Places for lines that go on from a label, away from the middle of the picture.

    >>> [line.text for line in lines_of(Place(0.0, 1.0, (0.2, 1.0), "start", 0.0), 2)]
    [(0.3, 1.1), (0.3, 1.175)]
    """
    x, y = spot.label
    side = -1 if spot.anchor == "end" else 1
    if spot.anchor == "middle":
        x -= 0.22
    found = []
    for k in range(count):
        level = y + math.copysign(0.1 + 0.075 * k, spot.y if abs(spot.y) > 1e-9 else -1.0)
        start, end, text = (round(x + side * shift, 9) for shift in (0.01, 0.08, 0.1))
        anchor = "end" if side < 0 else "start"
        found.append(Line(((start, level), (end, level)), (text, level), anchor))
    return found


def curve(start: Place, end: Place, n: int) -> tuple[Point, Point, Point]:
    """An arrow's first, control and last point; the two arrows of a pair do not overlap."""
    side = thumbnail_size(n)
    if n <= 5:  # from image to image, bent to one side
        dx, dy = end.x - start.x, end.y - start.y
        bend = (start.x + dx / 2 + 0.18 * dy, start.y + dy / 2 - 0.18 * dx)
        return (
            _toward((start.x, start.y), bend, 0.62 * side),
            bend,
            _toward((end.x, end.y), bend, 0.62 * side),
        )
    # Inside the circle, where there is room between neighbours too; out on one side of an image, in on the
    # other.
    (x0, y0), (x2, y2) = _port(start, side, -0.22), _port(end, side, 0.22)
    return (x0, y0), (0.3 * (x0 + x2), 0.3 * (y0 + y2)), (x2, y2)


def _port(place: Place, side: float, shift: float) -> Point:
    """The point between an image and the middle of the circle, shifted sideways by a share of the image."""
    reach = 1 - side / 2 / max(abs(place.x), abs(place.y)) - 0.03
    return reach * place.x - shift * side * place.y, reach * place.y + shift * side * place.x


def _toward(point: Point, goal: Point, way: float) -> Point:
    """The point at distance ``way`` from ``point`` in the direction of ``goal``."""
    dx, dy = goal[0] - point[0], goal[1] - point[1]
    share = way / math.hypot(dx, dy)
    return point[0] + share * dx, point[1] + share * dy


def extent(spots: Sequence[Place], lines: int = 0) -> tuple[float, float]:
    """The lowest and highest y of the picture, with room for the labels and ``lines`` further lines each."""
    n = len(spots)
    margin = (346 / radius(n) if n > 12 else 0.5) + (0.02 + 0.075 * lines if lines else 0)
    return min(spot.y for spot in spots) - margin, max(spot.y for spot in spots) + margin
