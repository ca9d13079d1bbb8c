"""What the commands print and write: tables on standard output, files of figures."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fewshot.files import replacing

LISTED = 15  # classes of an evaluation that are printed; a file has all


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a results table."""
    names = ("method", "mode", "way", "shot", "accuracy", "calibration error", "episodes", "fingerprint")
    lines = [
        (
            row["method"],
            row["mode"],
            row["way"],
            row["shot"],
            f"{row['accuracy']:.2f} ± {row['ci95']:.2f}"
            if row["ci95"] is not None
            else f"{row['accuracy']:.2f}",
            f"{row['ece']:.3f}",
            row["episodes"],
            row["fingerprint"],
        )
        for row in rows
    ]
    print_table(names, lines)


def print_table(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table; where no terminal reads it, no line is wrapped."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*names, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(str(value)) for value in row))
    Console(width=None if sys.stdout.isatty() else 10_000).print(table)


def write_json(path: Path | None, content: Any) -> None:
    """Write a file of figures, atomically, if one was asked for."""
    if path is not None:
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read what `write_json` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_csv(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows as CSV, atomically."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)


def print_classes(per_class: Mapping[str, float], pairs: Sequence[Mapping[str, Any]]) -> None:
    """Print the accuracy by class, the lowest first, and the hardest pairs of classes."""
    ordered = sorted(per_class.items(), key=lambda item: item[1])
    some = f", the {LISTED} lowest of {len(ordered)} (--json FILE has all)" if len(ordered) > LISTED else ""
    print(f"Accuracy by class{some}:")
    print_table(("class", "accuracy"), [(name, f"{value:.1f}") for name, value in ordered[:LISTED]])
    print("Classes most often taken for each other, in percent of the queries of both:")
    print_table(("class", "class", "percent"), [(p["a"], p["b"], f"{p['percent']:.1f}") for p in pairs])


def print_info(content: Mapping[str, Any]) -> None:
    """Print what `fewshot.data.info` tells of a data set."""
    for key in ("name", "path", "hash", "size", "channels"):
        print(f"{key}: {content[key]}")
    splits = content["splits"]
    names = list(next(iter(splits.values())))
    print_table(("split", *names), [(split, *values.values()) for split, values in splits.items()])
