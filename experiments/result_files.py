"""The result files, and tables of Markdown."""

import json
from typing import Any

from main_job import RESULTS


def result(name: str) -> Any:
    """What an experiment wrote."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def markdown(lines: list[list[str]]) -> str:
    """A table of Markdown; the second line is the rule under the heads."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
