"""Common to all stages: contenders that take turns, memory, the machine and its limits."""

import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import torch

from fewshot.core.fastest import processor

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
