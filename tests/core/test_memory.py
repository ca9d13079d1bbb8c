"""Freed memory stays in the process as long as anything asks for that."""

import ctypes
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import pytest
import torch

from fewshot.core.memory import kept

resource = pytest.importorskip("resource", reason="this system does not count page faults")
T = TypeVar("T")
WIDTH, ROWS = 4096, [256 * n for n in range(1, 9)]  # matrices of 4 to 32 MiB, 144 MiB together
PAGES = sum(ROWS) * WIDTH * 4 // resource.getpagesize()

GLIBC = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallopt")
pytestmark = pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")


def faults() -> int:
    """The page faults of one step, which makes its matrices and drops them."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    matrices = [torch.ones(rows, WIDTH) for rows in ROWS]
    del matrices
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def while_kept() -> int:
    """The page faults of ten steps after the first; an inner ``kept`` ends after five."""
    with kept():
        faults()
        with kept():
            inner = [faults() for _ in range(5)]
        return sum(inner + [faults() for _ in range(5)])


def left_over() -> float:
    """By how much the process has grown when ``kept`` has ended, as a multiple of a step's memory."""
    before = resident()
    with kept():
        faults()
        assert resident() - before > PAGES / 2
    return (resident() - before) / PAGES


def again() -> int:
    """The page faults of a small step, in a ``kept`` of its own, after a larger one."""
    for rows in (1024, 512):  # 16 and 8 MiB
        with kept():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            torch.ones(rows, WIDTH)
            found = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    return found


def resident() -> int:
    """Pages of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1])


def in_a_new_process(function: Callable[[], T]) -> T:
    """Its result in a process without the threads and memory blocks of other tests."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function).result()


def test_steps_reuse_the_memory_of_earlier_ones() -> None:
    # A block may not fit the gap of an equal one by a few bytes, since glibc 2.36 aligns it within a larger
    # one, so some pages of some steps are new. Without ``kept`` all pages of all ten steps are.
    assert in_a_new_process(while_kept) < 5 * PAGES


def test_without_glibc_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: pytest.fail("no C library has this name there"))
    with kept():
        pass


def test_afterwards_memory_is_returned() -> None:
    assert in_a_new_process(left_over) < 0.1


def test_a_little_is_left_for_the_next() -> None:
    assert in_a_new_process(again) < 512 * WIDTH * 4 / resource.getpagesize() / 10
