"""What a picture of a class graph shows: classes, the edges between them, and those from known classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from fewshot.core.errors import InputError
from fewshot.report.html import short_names, shorten

DECIMALS = 4
FEW = 12  # classes with labels side by side; beyond, labels are turned
LEAST = 0.05  # weight of a known class that is shown, unless it is the first
INK, SOFT, ACCENT = "#1c2128", "#667080", "#1f6feb"


@dataclass(frozen=True)
class KnownEdges:
    """The edges from C known classes to the N classes of a graph.

    Args:
        names: of the known classes.
        dependencies: **[N, C]**, row i: how much class i listens to each known class; a row of zeros if
            nothing is known of it.
        belief: **[N]**, how far each class's relations were believed, from 0 to 1.

    Raises:
        InputError: lengths that do not fit.
    """

    names: Sequence[str]
    dependencies: Float[np.ndarray, "N C"]
    belief: Float[np.ndarray, " N"]

    def __post_init__(self) -> None:
        n, c = len(self.belief), len(self.names)
        if self.dependencies.shape != (n, c):
            raise InputError(
                f"dependencies: expected [{n}, {c}], one row per class and one column per known class, "
                f"got {list(self.dependencies.shape)}"
            )

    def edges(self) -> list[tuple[int, int, float]]:
        """All edges (from known class c, to class i, weight), the strongest of each class first."""
        return [(c, i, weight) for i in range(len(self.belief)) for c, weight in self._heard(i)]

    def _heard(self, i: int) -> list[tuple[int, float]]:
        """The known classes that class i listens to, with their weights, the strongest first."""
        row = self.dependencies[i]
        weights = ((int(c), round(float(row[c]), DECIMALS)) for c in np.argsort(-row, kind="stable"))
        return [(c, weight) for c, weight in weights if weight > 0]

    def strongest(self, i: int, most: int = 3) -> list[tuple[str, float]]:
        """The few known classes that class i listens to most, with their weights: at most ``most``.

        All but the first weigh at least 0.05.

        >>> KnownEdges(["crane", "mug"], np.array([[0.97, 0.03]]), np.array([0.8])).strongest(0)
        [('crane', 0.97)]
        """
        heard = [(self.names[c], weight) for c, weight in self._heard(i)[:most]]
        return [heard[k] for k in range(len(heard)) if k == 0 or heard[k][1] >= LEAST]

    def lines(self, i: int, most: int = 3) -> list[str]:
        """`strongest` and the belief as lines of a picture, the names shortened; none without relations.

        >>> KnownEdges(["crane", "mug"], np.array([[0.97, 0.03]]), np.array([0.8])).lines(0)
        ['crane 0.97', 'belief 0.80']
        """
        heard = [f"{shorten(name, 20)} {weight:.2f}" for name, weight in self.strongest(i, most)]
        return [*heard, f"belief {self.belief[i]:.2f}"] if heard else []

    def sentence(self, i: int) -> str:
        """`strongest` and the belief in words; empty without relations.

        >>> KnownEdges(["crane", "bittern"], np.array([[0.6, 0.4]]), np.array([0.8])).sentence(0)
        'listens to: crane 0.60, bittern 0.40 (belief 0.80)'
        """
        heard = ", ".join(f"{name} {weight:.2f}" for name, weight in self.strongest(i))
        return f"listens to: {heard} (belief {self.belief[i]:.2f})" if heard else ""


@dataclass(frozen=True)
class Picture:
    """A class graph to draw.

    Args:
        names: one per class.
        dependencies: **[N, N]**, row i: how much class i listens to each class j.
        images: one per class, uint8 **[C, H, W]** with 1 or 3 channels.
        known: the edges from known classes; default None: there are none.

    Raises:
        InputError: lengths that do not fit.
    """

    names: Sequence[str]
    dependencies: Float[np.ndarray, "N N"]
    images: Sequence[UInt8[np.ndarray, "_ _ _"]]
    known: KnownEdges | None = None

    def __post_init__(self) -> None:
        n = len(self.names)
        if self.dependencies.shape != (n, n) or len(self.images) != n:
            raise InputError(
                f"dependencies: expected [{n}, {n}] and {n} images, one per class, "
                f"got {list(self.dependencies.shape)} and {len(self.images)}"
            )
        if self.known is not None and len(self.known.belief) != n:
            raise InputError(f"known: expected edges to {n} classes, got edges to {len(self.known.belief)}")

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


def drawn_edges(picture: Picture) -> int:
    """How many of each class's edges a picture shows, so that it stays readable."""
    n = len(picture.names)
    return n - 1 if n <= 5 else 3 if n <= 12 else 2


def listed(picture: Picture, i: int) -> list[str]:
    """The lines on known classes next to class i; none if there is no room for them."""
    n = len(picture.names)
    return [] if picture.known is None or n > FEW else picture.known.lines(i, 3 if n <= 8 else 2)


def hover(picture: Picture, i: int) -> str:
    """The whole name of a class, and the known classes that it listens to."""
    heard = picture.known.sentence(i) if picture.known else ""
    return f"{picture.names[i]} {heard}" if heard else picture.names[i]


def caption(picture: Picture) -> str:
    """The meaning of a picture's arrows, and which are drawn."""
    most, others = drawn_edges(picture), len(picture.names) - 1
    which = "All" if most >= others else f"The {most} strongest of each class's {others}"
    largest = max((weight for *_, weight in picture.edges()), default=0.0)
    return (
        "Arrows run from a class to the class that listens to it, wider and darker the more it listens "
        f"(widest: {largest:.2f}). {which} are drawn."
    )


def known_caption(picture: Picture) -> str:
    """The meaning of what is shown of known classes; empty without any."""
    if picture.known is None:
        return ""
    if len(picture.names) > FEW:
        return (
            "The known classes that a class listens to are not drawn; on a page they are shown on hovering."
        )
    return (
        "Lighter, on dashed lines: the known classes that a class listens to most, with their weights, and "
        "how far its relations are believed."
    )


def labels(picture: Picture) -> list[str]:
    """The names, shortened to the room that there is."""
    return short_names(picture.names, 27 if len(picture.names) <= 12 else 34)


def strokes(picture: Picture) -> list[tuple[int, int, float, float]]:
    """The edges to draw (from, to, strength from 0 to 1, weight), the weakest first."""
    edges = picture.edges(drawn_edges(picture))
    largest = max((weight for *_, weight in edges), default=1.0)
    return sorted(((j, i, w / largest, w) for j, i, w in edges), key=lambda edge: edge[3])
