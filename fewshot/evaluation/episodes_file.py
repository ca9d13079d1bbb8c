"""Accuracies per episode as a file, so that others can test differences between methods themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fewshot.core.errors import InputError
from fewshot.core.files import replacing
from fewshot.evaluation.scores import Scores


def check_episodes_file(path: Path | None) -> None:
    """Raise an InputError for a file that `write_episodes` would not write.

    >>> check_episodes_file(Path("scores.csv"))
    Traceback (most recent call last):
    ...
    fewshot.InputError: episodes_out: expected a file that ends in .npz, got 'scores.csv'
    """
    if path is not None and path.suffix.lower() != ".npz":
        raise InputError(f"episodes_out: expected a file that ends in .npz, got {path.name!r}")


def write_episodes(path: str | Path, scores: Sequence[Scores]) -> Path:
    """Write the accuracies of several methods in each episode as an .npz file, atomically.

    It holds ``accuracy [rows, episodes]``, in percent and in the order of the episodes, and per row
    ``method``, ``mode`` and ``relations``; ``fingerprint`` is that of the episodes, the same for all rows.

    Args:
        path: the file; its name ends in .npz.
        scores: on the very same episodes.

    Raises:
        InputError: another ending, no scores, scores of other episodes, or a file that cannot be written.
    """
    path = Path(path)
    check_episodes_file(path)
    prints = sorted({one.fingerprint for one in scores})
    if len(prints) != 1:
        raise InputError(f"scores: expected some on the very same episodes, got fingerprints {prints}")
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            accuracy=np.stack([one.per_episode.numpy() for one in scores]),
            method=np.array([one.method for one in scores]),
            mode=np.array([one.mode for one in scores]),
            relations=np.array([one.relations for one in scores]),
            fingerprint=np.array(prints[0]),
        )
    return path
