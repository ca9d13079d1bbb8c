"""Common to all stages: contenders that take turns, memory, the machine and its limits, tables and files."""

import argparse
import gc
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import torch

from fewshot.core.fastest import processor
from fewshot.core.files import replacing

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "experiments" / "results" / "benchmark"  # committed; the tables are made of them
OWN = ROOT / "runs" / "benchmark"  # of this machine; ignored by git
UNITS = {"ms": 1e3, "s": 1.0, "MB": 1e-6}
HEADER = ("work", "ours", "against", "theirs", "ratio", "target", "of limit")
LIBRARIES = (
    "torch",
    "torchvision",
    "torch-geometric",
    "lightning",
    "numpy",
    "learn2learn",
    "easyfsl",
    "faiss-cpu",
)


class Times(NamedTuple):
    """Seconds of each repetition, their median, and the width of their middle half (quartile to quartile)."""

    median: float
    spread: float
    all: tuple[float, ...]

    @staticmethod
    def of(seconds: Sequence[float]) -> "Times":
        quartiles = statistics.quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else (0, 0, 0)
        return Times(statistics.median(seconds), quartiles[2] - quartiles[0], tuple(seconds))


def race(
    contenders: Mapping[str, Callable[[], Any]],
    repetitions: int,
    warmup: int = 1,
    finish: Callable[[], Any] = lambda: None,
) -> dict[str, Times]:
    """Time contenders in turn, so that other load on the machine affects all of them alike.

    Every repetition runs each contender once, every second one in reverse order. Garbage is collected before
    a run and not during it. `finish`, such as `torch.cuda.synchronize`, is part of a run's time.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    collects = gc.isenabled()
    try:
        for repetition in range(-warmup, repetitions):
            for name in list(contenders)[:: -1 if repetition % 2 else 1]:
                gc.collect()
                gc.disable()
                start = time.perf_counter()
                contenders[name]()
                finish()
                elapsed = time.perf_counter() - start
                gc.enable()
                if repetition >= 0:
                    seconds[name].append(elapsed)
    finally:
        (gc.enable if collects else gc.disable)()
    return {name: Times.of(values) for name, values in seconds.items()}


class Memory(NamedTuple):
    """Bytes of this process: resident, peak resident, and private (not backed by a file)."""

    resident: int
    peak: int
    anonymous: int


def memory() -> Memory:
    """The memory of this process, as reported by the kernel (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    sizes = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    return Memory(*(1024 * int(sizes[name][0]) for name in ("VmRSS", "VmHWM", "RssAnon")))


def peak_memory(work: Callable[[], Any]) -> int:
    """Bytes by which the peak resident memory during `work` exceeds the memory before it (Linux)."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here on
    before = memory().resident
    work()
    return memory().peak - before


def machine() -> dict[str, Any]:
    """The machine and the libraries on which a figure depends."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "python": platform.python_version(),
        **{name: _version(name) for name in LIBRARIES},
    }


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def matrix_product(dtype: torch.dtype = torch.float32, size: int = 1536, device: str = "cpu") -> float:
    """GFLOP/s of a product of square matrices, the best of several."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2e-9 * size**3 / _best(lambda: a @ b, device)


def copy(megabytes: int = 256, device: str = "cpu") -> float:
    """GB/s of a copy within memory, reading and writing together, the best of several."""
    source = torch.ones(megabytes * 2**20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2e-9 * len(source) / _best(lambda: target.copy_(source), device)


def _best(work: Callable[[], Any], device: str) -> float:
    finish = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    return min(race({"": work}, repetitions=7, warmup=2, finish=finish)[""].all)


class Limits(NamedTuple):
    """The measured speed of this machine: GFLOP/s of matrix products by type, GB/s of a copy."""

    float32: float
    bfloat16: float
    copy: float

    @staticmethod
    def measured(device: str = "cpu") -> "Limits":
        products = (matrix_product(dtype, device=device) for dtype in (torch.float32, torch.bfloat16))
        return Limits(*products, copy(device=device))


class Floor(NamedTuple):
    """The least that a piece of work must do: operations in a number type, and bytes read and written."""

    operations: float
    bytes: float
    dtype: str = "float32"

    def seconds(self, limits: Limits) -> float:
        """The time of the slower of the two at the machine's limit."""
        return max(self.operations / getattr(limits, self.dtype), self.bytes / limits.copy) * 1e-9


@dataclass(frozen=True)
class Line:
    """One row of a table: our time compared with another's on the same work.

    Args:
        work, against: in words.
        ours, theirs: times of the same amount of work; theirs is None if the peer is missing or fails. Or
            other quantities that should be small, such as `Times.of` some bytes.
        target: how many times faster ours should be; with `at_most`, the largest share of theirs that ours
            may take.
        as_good: whether our results are as good as theirs; if not, the verdict is short whatever the ratio.
        per: how many units (episodes, images) the times are for; the table shows the time per unit.
        theirs_per: the same for theirs, if it did fewer units.
        unit: of the table's times, one of `UNITS`.
        floor: the least that the work must do, for all of our units.
        note: a remark, such as why theirs is absent.
        figures: further figures to keep (accuracies, bytes).
    """

    work: str
    against: str
    ours: Times
    theirs: Times | None = None
    target: float | None = None
    at_most: bool = False
    as_good: bool = True
    per: int = 1
    theirs_per: int | None = None
    unit: str = "ms"
    floor: Floor | None = None
    note: str = ""
    figures: Mapping[str, Any] | None = None

    def row(self, limits: Limits | None = None) -> dict[str, Any]:
        """Everything as plain values; `verdict` is ok, short, or empty if there is nothing to compare."""
        ours = self.ours.median / self.per
        theirs = None if self.theirs is None else self.theirs.median / (self.theirs_per or self.per)
        ratio = None if theirs is None else (ours / theirs if self.at_most else theirs / ours)
        floor = None
        if self.floor is not None and limits is not None:
            least = self.floor.seconds(limits)
            floor = {**self.floor._asdict(), "seconds": least, "share": least / self.ours.median}
        return {
            "work": self.work,
            "against": self.against,
            "ours": self.ours._asdict(),
            "theirs": self.theirs and self.theirs._asdict(),
            "units": self.per,
            "theirs_units": self.theirs_per or self.per,
            "unit": self.unit,
            "ours_each": ours * UNITS[self.unit],
            "theirs_each": None if theirs is None else theirs * UNITS[self.unit],
            "ratio": ratio,
            "target": self.target,
            "at_most": self.at_most,
            "verdict": verdict(ratio, self.target, self.at_most, self.as_good),
            "limit": floor,
            "note": self.note,
            **(self.figures or {}),
        }


def verdict(ratio: float | None, target: float | None, at_most: bool = False, as_good: bool = True) -> str:
    """ok or short; empty if there is no target, or nothing to compare with it.

    >>> verdict(52.0, 50.0), verdict(0.4, 0.3, at_most=True), verdict(None, 4.0)
    ('ok', 'short', '')
    """
    if ratio is None or target is None or math.isnan(ratio):
        return ""
    return "ok" if as_good and (ratio <= target if at_most else ratio >= target) else "short"


def table(rows: Iterable[Mapping[str, Any]], extra: Sequence[str] = ()) -> str:
    """Rows of `Line.row` as text; a line with a target ends in ok or short. `extra`: more figures."""
    lines = [[*HEADER, *extra, ""], *(cells(row, extra) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def cells(row: Mapping[str, Any], extra: Sequence[str] = ()) -> list[str]:
    """The texts of a row, in the columns of `HEADER`, of `extra`, and one without a title."""
    target, limit = row["target"], row["limit"]
    sign = "<=" if row["at_most"] else ">="
    return [
        row["work"],
        number(row["ours_each"], row["unit"]),
        row["against"],
        number(row["theirs_each"], row["unit"]),
        number(row["ratio"]),
        "" if target is None else f"{sign} {target:g}",
        "" if limit is None else f"{100 * limit['share']:.2g} %",
        *(number(row.get(name)) for name in extra),
        row["verdict"] or row["note"],
    ]


def number(value: Any, unit: str = "") -> str:
    """A number with three digits and its unit; a text as it is; nothing for None.

    >>> number(0.0484, "ms"), number(1343.2, "ms"), number("peer"), number(None)
    ('0.0484 ms', '1,343 ms', 'peer', '')
    """
    if not isinstance(value, int | float):
        return value or ""
    return f"{value:,.0f} {unit}".rstrip() if abs(value) >= 1000 else f"{value:.3g} {unit}".rstrip()


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
