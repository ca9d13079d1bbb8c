"""Options that several commands share."""

from __future__ import annotations

from typing import Any, Literal

Mode = Literal["inductive", "joint"]


Split = Literal["train", "val", "test"]


Classes = Literal["uniform", "hard"]


def episode_options(
    way: int, shot: int, query: int, episodes: int, seed: int, classes: str, queries: str, label_noise: float
) -> dict[str, Any]:
    """The options of an `EpisodeSampler`, as they are also written to files of figures."""
    return dict(locals())
