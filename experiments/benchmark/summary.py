"""The table of docs/speed.md: every line with a peer and a target, from the files that the stages wrote.

    python experiments/benchmark/summary.py

prints it; ``experiments/tables.py`` puts it into the page.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lines import HEADER, cells
from stages import RESULTS

STAGES = (
    "start_up",
    "loading",
    "sampling",
    "evaluation",
    "joint",
    "meta_training",
    "training",
    "extraction",
    "growth",
    "many_classes",
    "rehearsal",
)


def rows(folder: Path, stages: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of several stages; the stage's name is put before the work's."""
    found: list[dict[str, Any]] = []
    for stage in stages:
        own = json.loads((folder / f"{stage}.json").read_text())["rows"]
        found += [{**row, "work": f"{stage.replace('_', ' ')}: {row['work']}"} for row in own]
    return found


def markdown(folder: Path = RESULTS) -> str:
    compared = [row for row in rows(folder, STAGES) if row["target"] is not None and row.get("theirs")]
    lines = [[*HEADER, ""], ["---"] * (len(HEADER) + 1), *(cells(row) for row in compared)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    print(markdown())
