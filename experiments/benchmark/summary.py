"""The table of the README: every line with a peer and a target, from the files that the stages wrote.

python experiments/benchmark/summary.py
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measure import RESULTS, number

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
)


def rows(folder: Path, stages: Sequence[str]) -> list[dict[str, Any]]:
    """Of several stages, their names before the work's."""
    found: list[dict[str, Any]] = []
    for stage in stages:
        own = json.loads((folder / f"{stage}.json").read_text())["rows"]
        found += [{**row, "work": f"{stage.replace('_', ' ')}: {row['work']}"} for row in own]
    return found


def markdown(folder: Path = RESULTS) -> str:
    header = ["work", "ours", "against", "theirs", "ratio", "target", "of limit", ""]
    lines = [header, ["---"] * len(header)]
    for row in rows(folder, STAGES):
        if row["target"] is None or row.get("theirs") is None:
            continue
        lines.append(
            [
                row["work"],
                number(row["ours_each"], row["unit"]),
                row["against"],
                number(row["theirs_each"], row["unit"]),
                number(row["ratio"]),
                f"{'≤' if row['at_most'] else '≥'} {row['target']:g}",
                "" if row["limit"] is None else f"{100 * row['limit']['share']:.2g} %",
                row["verdict"],
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    print(markdown())
