"""What the commands print: tables on standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fewshot.core.escape import printable
from fewshot.core.files import say

LISTED = 15  # how many classes of an evaluation are printed; --json writes all


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a results table; rows with relations are a table of their own."""
    figures = ("accuracy", "calibration error", "NLL", "AURC")
    names = ("method", "mode", "way", "shot", *figures, "episodes", "fingerprint")
    for relations, some in by_relations(rows).items():
        lines = [
            (
                row["method"],
                row["mode"],
                row["way"],
                row["shot"],
                plus_minus(row["accuracy"], row["ci95"]),
                *(plus_minus(row.get(name), None, ".3f") for name in ("ece", "nll", "aurc")),
                row["episodes"],
                row["fingerprint"],
            )
            for row in some
        ]
        print_block(relations, names, lines)


def by_relations(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Rows by the relations that they were given, those without first.

    >>> sorted(by_relations([{"relations": "taxonomy"}, {"method": "of an old file"}]))
    ['none', 'taxonomy']
    """
    blocks: dict[str, list[Mapping[str, Any]]] = {"none": []}
    for row in rows:
        blocks.setdefault(row.get("relations", "none"), []).append(row)
    return {relations: some for relations, some in blocks.items() if some}


def print_block(relations: str, names: Sequence[str], lines: Sequence[Sequence[Any]]) -> None:
    """Print a table of rows without relations, or of rows with them, which then say so."""
    if relations == "none":
        print_table(names, lines)
        return
    print(f"With relations to known classes ({relations}):")
    print_table(("relations", *names), [(relations, *line) for line in lines])


def print_unknown(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print how well rules recognise queries of unknown classes; rows with relations apart."""
    print(f"None of these: {rows[0]['unknown']} unknown classes, which are the positive class.")
    names = ("rule", "mode", "AUROC", "AUPR", "FPR at 95 % TPR", "accuracy of the known", "fingerprint")
    for relations, some in by_relations(rows).items():
        lines = [
            (
                row["title"],
                row["mode"],
                *(
                    plus_minus(row[name], row[f"{name}_ci95"])
                    for name in ("auroc", "aupr", "fpr95", "accuracy")
                ),
                row["fingerprint"],
            )
            for row in some
        ]
        print_block(relations, names, lines)


def print_table(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table; lines are only wrapped on a terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*names, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(printable(value)) for value in row))
    console = Console(width=None if sys.stdout.isatty() else 10_000)
    with console.capture() as lines:
        console.print(table)
    print(lines.get(), end="")  # rich would end the process if the reader has gone


def print_seen(seen: Sequence[str], classes: int, model: str) -> None:
    """Say so if the classes that were scored are known to the backbone, which makes figures too good."""
    if seen:
        print(
            f"{len(seen)} of these {classes} classes are among those that the backbone of {model} was "
            "trained on (ImageNet's): it saw these classes, so the figures are no few-shot benchmark."
        )


def print_classes(per_class: Mapping[str, float], pairs: Sequence[Mapping[str, Any]]) -> None:
    """Print the accuracy per class, the lowest first, and the hardest pairs of classes."""
    ordered = sorted(per_class.items(), key=lambda item: item[1])
    some = f", the {LISTED} lowest of {len(ordered)} (--json FILE has all)" if len(ordered) > LISTED else ""
    print(f"Accuracy per class{some}:")
    print_table(("class", "accuracy"), [(name, f"{value:.1f}") for name, value in ordered[:LISTED]])
    print("Classes most often confused with each other, in percent of the queries of both:")
    print_table(("class", "class", "percent"), [(p["a"], p["b"], f"{p['percent']:.1f}") for p in pairs])


def print_info(content: Mapping[str, Any]) -> None:
    """Print what `fewshot.data.info` says about a data set."""
    for key in ("name", "path", "hash", "size", "channels"):
        say(f"{key}: {content[key]}")
    splits = content["splits"]
    names = list(next(iter(splits.values())))
    print_table(("split", *names), [(split, *values.values()) for split, values in splits.items()])


def plus_minus(value: float | None, half: float | None, form: str = ".2f") -> str:
    """A figure with its interval, if there is one.

    >>> plus_minus(62.5, 0.41), plus_minus(-1.0, None, "+.1f"), plus_minus(None, None)
    ('62.50 ± 0.41', '-1.0', '')
    """
    if value is None:
        return ""
    return f"{value:{form}}" + ("" if half is None else f" ± {half:.2f}")


def print_compared(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a comparison: prototypes, then the methods of each mode, the best first; with relations apart."""
    reference = rows[0]["title"]
    names = ("method", "mode", "accuracy", f"above {reference}")
    last = ("calibration error", "ms per episode", "audit")
    for relations, some in by_relations(rows).items():
        first, others = (some[:1], some[1:]) if relations == "none" else ([], some)
        ordered = [*first, *sorted(others, key=lambda row: (row["mode"], -row["accuracy"]))]
        gains = () if relations == "none" else ("above no relations",)
        lines = [
            (
                row["title"],
                row["mode"],
                plus_minus(row["accuracy"], row["ci95"]),
                plus_minus(row["difference"], row["difference_ci95"], "+.2f"),
                *(plus_minus(row["gain"], row["gain_ci95"], "+.2f") for _ in gains),
                f"{row['ece']:.3f}",
                f"{row['ms_per_episode']:.{3 if row['ms_per_episode'] < 1 else 1}f}",
                ", ".join(row["audit"]) or "ok",
            )
            for row in ordered
        ]
        print_block(relations, (*names, *gains, *last), lines)


def print_checks(checks: Mapping[str, Sequence[Any]]) -> None:
    """Print an audit: the `fewshot.evaluation.audit.Check`s of each mode."""
    words = {True: "ok", False: "FAILED", None: "skipped"}
    lines = [
        (mode, check.name, words[check.passed], f"{check.deviation:.1e}" if check.passed is not None else "",
         check.explanation)
        for mode, found in checks.items()
        for check in found
    ]  # fmt: skip
    print_table(("mode", "check", "result", "largest deviation", "explanation"), lines)
