"""Options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Split = Literal["train", "val", "test"]
Classes = Literal["uniform", "hard"]
SAMPLING = ("way", "shot", "query", "episodes", "seed", "classes", "queries", "label_noise")


@dataclass(frozen=True, kw_only=True)
class EpisodeOptions:
    """The episodes that a command scores. Each field is one option of the command line.

    Args:
        data: KIND[:PATH]; default what the checkpoint was trained on.
        split: The split whose classes are drawn.
        way: Classes per episode.
        shot: Supports per class.
        query: Queries per class.
        episodes: Number of episodes.
        seed: Of the episodes, and of methods that learn.
        classes: Any classes, or classes that are near each other.
        queries: The classes' shares of the queries: balanced, or dirichlet:A (smaller A, more unequal).
        label_noise: Share of the supports that have a wrong label.

    >>> EpisodeOptions(split="val", shot=5).sampling()["shot"]
    5
    """

    data: str | None = None
    split: Split = "test"
    way: int = 5
    shot: int = 1
    query: int = 15
    episodes: int = 2000
    seed: int = 0
    classes: Classes = "uniform"
    queries: str = "balanced"
    label_noise: float = 0.0

    def sampling(self) -> dict[str, Any]:
        """The options of an `EpisodeSampler`, as they are also written to files of figures."""
        return {name: getattr(self, name) for name in SAMPLING}
