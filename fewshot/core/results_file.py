"""The rows of ``results.json``, as training writes them."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Any

from fewshot.core.errors import InputError
from fewshot.core.untrusted.documents import read_json
from fewshot.core.untrusted.guard import brief

NUMBER = (int, float)
KINDS: dict[str, tuple[type, ...]] = {
    "method": (str,),
    "mode": (str,),
    "way": (int,),
    "shot": (int,),
    "accuracy": NUMBER,
    "ci95": (*NUMBER, type(None)),
    "ece": NUMBER,
    "episodes": (int,),
    "fingerprint": (str,),
}
MOST = 16 * 2**20  # bytes


def read_results(path: Path) -> list[dict[str, Any]]:
    """The rows of a ``results.json``, one per method, mode, way and shot.

    Raises:
        InputError: the file holds something else.
    """
    rows = read_json(path, "the results of a run as `fewshot train` writes them", MOST)
    if not isinstance(rows, list) or not all(map(_is_row, rows)):
        raise InputError(
            f"{path}: expected the results of a run as `fewshot train` writes them, got {brief(rows)}"
        )
    return rows


def _is_row(row: Any) -> bool:
    if not isinstance(row, dict):
        return False
    fits = all(isinstance(row.get(key, KINDS), kinds) for key, kinds in KINDS.items())
    fits = fits and isinstance(row.get("relations", ""), str)
    return fits and all(isfinite(row[key] or 0) for key in ("accuracy", "ci95", "ece"))
