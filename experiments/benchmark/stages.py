"""Common to all stages: their options, and their tables and files."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lines import Line, table
from measure import Limits, machine

from fewshot.core.files import replacing

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "experiments" / "results" / "benchmark"  # committed; the tables are made of them
OWN = ROOT / "runs" / "benchmark"  # of this machine; ignored by git


def parser(about: str | None) -> argparse.ArgumentParser:
    """The options of every stage: what to measure on, and where the figures go."""
    options = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", help="SPEC of images; default generated ones")
    options.add_argument("--features", type=Path, help="an .npz of features; default generated ones")
    options.add_argument("--results", type=Path, default=OWN, help="folder of the figures")
    return options


def staged(stage: str, device: str) -> str:
    """The name of a stage's file: figures of a GPU stand next to those of the processor."""
    return stage if torch.device(device).type == "cpu" else f"{stage}_gpu"


def write(file: Path, content: Mapping[str, Any]) -> None:
    """Write JSON atomically."""
    with replacing(file) as temporary:
        temporary.write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")


def conclude(
    stage: str,
    lines: Sequence[Line],
    options: argparse.Namespace,
    extra: Sequence[str] = (),
    limits: Limits | None = None,
    **more: Any,
) -> list[dict[str, Any]]:
    """End a stage: print its table and write ``<stage>.json``; returns the rows.

    Args:
        extra: names of further figures of the lines that the table shows.
        limits: of the device that was timed; default the CPU's, measured now.
        more: further content of the file.
    """
    limits = limits or Limits.measured()
    rows = [line.row(limits) for line in lines]
    print(f"{stage}\n{table(rows, extra)}\n", flush=True)
    settings = {name: _shown(value) for name, value in vars(options).items() if name != "results"}
    content = {"stage": stage, "options": settings, "machine": machine(), "limits": limits._asdict()}
    write(options.results / f"{stage}.json", {**content, "rows": rows, **more})
    return rows


def _shown(value: Any) -> Any:
    """An option as it is kept; files by name only, without the path on this machine."""
    if isinstance(value, Path):
        return value.name
    kind, colon, path = value.partition(":") if isinstance(value, str) else (value, "", "")
    return f"{kind}:{Path(path).name}" if colon else value
