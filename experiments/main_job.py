"""Train a shipped config, and keep its figures together with the machine on which they were measured.

    python experiments/main_job.py glyphs
    python experiments/main_job.py tiny-imagenet-fs --data miniimagenet:PATH/tiny-imagenet-fs.tar

writes ``experiments/results/NAME.json`` and prints its table. ``--table`` prints it from the file, without
training; ``tables.py`` puts it into the documentation.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fewshot.cli.output import by_relations
from fewshot.core.fastest import processor

RESULTS = Path(__file__).parent / "results"
LIBRARIES = ("torch", "torchvision", "torch-geometric", "lightning", "numpy")


def machine() -> dict[str, str | int]:
    """The machine and the libraries on which a figure depends."""
    libraries = {name: version(name) for name in LIBRARIES}
    return {
        "cpu": processor(),
        "cores": os.cpu_count() or 1,
        "python": platform.python_version(),
        **libraries,
    }


def run(name: str, data: str | None, out: Path) -> dict:
    from fewshot.training.config import read
    from fewshot.training.run import train

    config = read(name, {"data": data} if data else {})
    start = time.perf_counter()
    folder = train(config, out=out)
    seconds = time.perf_counter() - start
    return {
        "command": f"fewshot train --config {name}" + (" --data miniimagenet:PATH" if data else ""),
        "seed": config.seed,
        "seconds": round(seconds),
        "machine": machine(),
        "rows": json.loads((folder / "results.json").read_text()),
    }


def table(result: dict) -> str:
    """One row per method and mode, one column per way and shot; rows with relations have their own table."""
    blocks = by_relations(result["rows"])
    return "\n\n".join(
        ("" if relations == "none" else f"With relations to the known classes ({relations}):\n\n")
        + block(rows)
        for relations, rows in blocks.items()
    )


def block(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys((row["way"], row["shot"]) for row in rows))
    names = list(dict.fromkeys((row["method"], row["mode"]) for row in rows))
    cells = {
        (r["method"], r["mode"], r["way"], r["shot"]): f"{r['accuracy']:.1f} ± {r['ci95']:.1f}" for r in rows
    }
    lines = ["| method | mode | " + " | ".join(f"{way}-way {shot}-shot" for way, shot in columns) + " |"]
    lines.append("|---|---|" + "---|" * len(columns))
    for method, mode in names:
        values = " | ".join(cells[method, mode, way, shot] for way, shot in columns)
        lines.append(f"| {method} | {mode} | {values} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", help="a config: glyphs or tiny-imagenet-fs")
    parser.add_argument("--data", help="SPEC of the data, if it does not come with the package")
    parser.add_argument("--out", type=Path, help="folder of the run (default runs/NAME)")
    parser.add_argument("--table", action="store_true", help="only print the table of the kept figures")
    arguments = parser.parse_args()
    file = RESULTS / f"{arguments.name}.json"
    if not arguments.table:
        result = run(arguments.name, arguments.data, arguments.out or Path("runs") / arguments.name)
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(result, indent=1) + "\n")
    print(table(json.loads(file.read_text())))


if __name__ == "__main__":
    main()
