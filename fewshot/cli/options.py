"""Options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Split = Literal["train", "val", "test"]
Classes = Literal["uniform", "hard", "hard:taxonomy"]
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
        classes: Any classes, or classes that are near each other: as the data says, or by their paths.
        queries: The classes' shares of the queries: balanced, or dirichlet:A (smaller A, more unequal).
        label_noise: Share of the supports that have a wrong label.
        unknown: Further classes whose queries are to be recognised as none of the episode's classes.

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
    unknown: int = 0

    def sampling(self) -> dict[str, Any]:
        """The options of an `EpisodeSampler`, as they are also written to files of figures."""
        return {name: getattr(self, name) for name in SAMPLING}


@dataclass(frozen=True, kw_only=True)
class KnowledgeOptions:
    """What is known besides the episodes. Each field is one option of the command line.

    Args:
        relations: To the known classes: none, by paths in a taxonomy, by looks alone, or shuffled (false).
        belief: How far relations are believed: judged in each episode, or 1, wholly.
        without_known: A table of classes to take out of the known ones, by their wnid, path or name.

    >>> KnowledgeOptions(belief="1").given_belief
    1.0
    """

    relations: Literal["none", "taxonomy", "looks", "shuffled"] = "none"
    belief: Literal["judged", "1"] = "judged"
    without_known: Path | None = None

    def described(self) -> dict[str, Any]:
        """The options as they are written to files of figures."""
        file = self.without_known
        return {**vars(self), "without_known": None if file is None else file.name}

    @property
    def given_belief(self) -> float | None:
        """The class graph's ``belief``."""
        return None if self.belief == "judged" else float(self.belief)
