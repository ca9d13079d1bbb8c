"""Which of several ways is the fastest on this machine: measured once, and remembered."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fewshot.core.errors import InputError
from fewshot.core.files import cache_folder, write_json
from fewshot.core.untrusted.documents import read_json

if TYPE_CHECKING:
    import torch

FILE = "fastest.json"
REPETITIONS = 5


def fastest(
    question: str,
    ways: Mapping[str, Callable[[], Any]],
    *,
    margin: float = 1.0,
    device: str | torch.device = "cpu",
    cache: str | Path | None = None,
) -> str:
    """The name of the fastest way; the first one unless another is faster by a margin.

    The answer is kept in the cache folder, in ``fastest.json``, by the question and by what it depends on:
    the version of torch, and the GPU, or the processor and the number of threads. Without a writable cache
    folder it is measured again in each process.

    Args:
        question: what is asked, in words.
        ways: by name, each a call that does the same work; the first is the usual one.
        margin: how many times as fast another way has to be; default 1.
        device: where the ways compute, a CPU or a CUDA device; default the CPU.
        cache: the folder; default the cache folder.

    >>> import tempfile
    >>> slow, quick = (lambda: sum(range(100_000))), (lambda: None)
    >>> fastest("a sum", {"loop": slow, "nothing": quick}, margin=1.2, cache=tempfile.mkdtemp())
    'nothing'
    """
    file = cache_folder(cache) / FILE
    place = here(device)
    kept = read(file)
    answer = kept.get(place, {}).get(question, {})
    if answer.get("fastest") in ways:
        return str(answer["fastest"])
    seconds = race(ways, device)
    usual, *others = ways
    best = min(others, key=seconds.__getitem__, default=usual)
    chosen = best if seconds[best] * margin < seconds[usual] else usual
    kept.setdefault(place, {})[question] = {
        "fastest": chosen,
        "milliseconds": {name: float(f"{1000 * value:.3g}") for name, value in seconds.items()},
    }
    with suppress(InputError, OSError):  # a full disk, a folder without rights: it is measured again
        write_json(file, kept)
    return chosen


def race(ways: Mapping[str, Callable[[], Any]], device: str | torch.device = "cpu") -> dict[str, float]:
    """The least seconds of each way, after a call that is not counted; the ways take turns.

    On a CPU they run on one thread, whose processor time is counted: with several threads, which wait for
    each other, other work on the machine would decide. On a GPU the clock waits until it is done.
    """
    import torch

    def now() -> float:
        if torch.device(device).type == "cpu":
            return time.thread_time()
        torch.cuda.synchronize(device)
        return time.perf_counter()

    threads = torch.get_num_threads()
    times: dict[str, list[float]] = {name: [] for name in ways}
    torch.set_num_threads(1)
    try:
        for work in ways.values():
            work()
        for _ in range(REPETITIONS):
            for name, work in ways.items():
                start = now()
                work()
                times[name].append(now() - start)
    finally:
        torch.set_num_threads(threads)
    return {name: min(found) for name, found in times.items()}


def here(device: str | torch.device = "cpu") -> str:
    """What speed depends on: the version of torch, and the GPU, or the processor and its threads."""
    import torch

    if torch.device(device).type == "cpu":
        return f"{processor()}, torch {torch.__version__}, {torch.get_num_threads()} threads"
    return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"


def measured(device: str | torch.device = "cpu", cache: str | Path | None = None) -> dict[str, str]:
    """What was measured here so far, in words: by question, the fastest way and the milliseconds of each."""
    found = {}
    for question, row in read(cache_folder(cache) / FILE).get(here(device), {}).items():
        times = row.get("milliseconds")
        if isinstance(times, dict):
            found[question] = (
                f"{row.get('fastest')} ({', '.join(f'{way} {ms} ms' for way, ms in times.items())})"
            )
    return found


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    with suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine() or f"{os.cpu_count()} cores"


def read(file: Path) -> dict[str, Any]:
    """What was measured earlier; empty if there is nothing that can be read."""
    try:
        content = read_json(file)
    except InputError:
        return {}
    rows = content.items() if isinstance(content, dict) else ()
    return {
        place: {question: row for question, row in answers.items() if isinstance(row, dict)}
        for place, answers in rows
        if isinstance(answers, dict)
    }
