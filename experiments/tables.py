"""Put the tables of the result files into the README and the documentation.

    python experiments/tables.py

rewrites what is between ``<!-- NAME -->`` and ``<!-- end NAME -->`` in each page. A test checks that pages
and result files agree, so run this after any experiment whose results are shown.
"""

from collections.abc import Callable
from pathlib import Path

import accuracy_tables
import main_job
import rivals
import speed_tables
from result_files import result

ROOT = Path(__file__).parents[1]

PAGES: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"headline": accuracy_tables.headline},
    "docs/features.md": {"base_mean": accuracy_tables.base_mean},
    "docs/reuse.md": {"unequal": accuracy_tables.unequal},
    "docs/protocols.md": {
        "joint_harm": accuracy_tables.joint_harm,
        "joint_conditions": accuracy_tables.joint_conditions,
        "how_to_report": accuracy_tables.how_to_report,
    },
    "docs/results.md": {
        "glyphs": lambda: main_job.table(result("glyphs")),
        "tiny-imagenet-fs": lambda: main_job.table(result("tiny-imagenet-fs")),
        "rivals": lambda: rivals.summary(result("rivals")),
        "relations": accuracy_tables.relations,
        "unknown": accuracy_tables.unknown,
        "evidence": accuracy_tables.evidence,
        "labelling": accuracy_tables.labelling,
        "suspected": accuracy_tables.suspected,
        "dependencies": accuracy_tables.dependencies,
    },
    "docs/probabilities.md": {
        "fitted_temperatures": accuracy_tables.fitted_temperatures,
        "prototype_scale": accuracy_tables.prototype_scale,
        "sure_sets": accuracy_tables.sure_sets,
    },
    "docs/speed.md": {
        "speed": speed_tables.speed,
        "growth": speed_tables.growth,
        "many_classes": speed_tables.many_classes,
        "rehearsal": speed_tables.rehearsal,
        "gpu": speed_tables.gpu,
        "photographs_gpu": accuracy_tables.photographs_gpu,
    },
    "docs/training.md": {"pretraining": accuracy_tables.pretraining},
}


def filled(page: str) -> str:
    """A page with each of its tables as the result files have it."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for name, table in PAGES[page].items():
        start, end = f"<!-- {name} -->\n", f"<!-- end {name} -->\n"
        if text.count(start) != 1 or text.count(end) != 1:
            raise ValueError(f"{page}: expected one {start.strip()} and one {end.strip()}")
        before, rest = text.split(start)
        text = f"{before}{start}{table()}\n{end}{rest.split(end)[1]}"
    return text


if __name__ == "__main__":
    for page in PAGES:
        (ROOT / page).write_text(filled(page), encoding="utf-8")
