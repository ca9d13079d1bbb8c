"""Memory is kept as long as somebody uses it so."""

import ctypes
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

import pytest
import torch

from fewshot.memory import kept

T = TypeVar("T")
SIDE = 4096  # a float32 matrix of 64 MiB
PAGES = SIDE * SIDE * 4 // resource.getpagesize()

GLIBC = hasattr(ctypes.CDLL(None), "mallopt")
pytestmark = pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")


def faults(rows: int = SIDE) -> int:
    """How many pages come from the system for a new matrix."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(rows, SIDE)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def while_kept() -> int:
    """Of ten matrices within ``kept``, the latter five after an inner ``kept`` has ended."""
    with kept():
        with kept():
            inner = [faults() for _ in range(5)]
        return sum(inner + [faults() for _ in range(5)])


def once_ended() -> int:
    with kept():
        faults()
    faults()  # what was kept is given back when something is freed
    return faults()


def in_a_new_process(function: Callable[[], T]) -> T:
    """What it returns where no other test's threads and blocks of memory are."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function).result()


def test_matrices_come_again_without_their_pages() -> None:
    # The first one brings its pages. So may another: glibc 2.36 aligns a block within a somewhat larger one,
    # so that a block may not fit where its like has just been. Without ``kept`` each of the ten does.
    assert in_a_new_process(while_kept) < 5 * PAGES


def test_afterwards_memory_goes_back() -> None:
    again = in_a_new_process(once_ended)
    if again < PAGES / 100:
        pytest.skip("this system gives memory in larger pages than it says")
    assert again > PAGES / 2
