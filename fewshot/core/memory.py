"""Freed memory that stays in the process from one step to the next.

Why it exists: glibc takes large blocks, such as a batch's activations, from the system one by one and returns
each when it is freed, so that every step of a training loop faults its memory in again, page by page. What it
buys: after the first step hardly any page faults (`tests/core/test_memory.py` counts them); results do not
change. When to delete it: when torch's CPU allocator keeps freed blocks itself, as its CUDA allocator does,
or when training steps are no faster with it than without.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

# Parameters of glibc's mallopt, see its manual page.
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
LARGEST = 32 * 2**20  # bytes: the highest value to which glibc itself raises its threshold for mapping blocks

_lock, _users = Lock(), 0  # there is one allocator per process, so its users are counted per process too


class _Counts(ctypes.Structure):
    """glibc's `struct mallinfo2`, see the manual page of mallinfo."""

    _names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = tuple((name, ctypes.c_size_t) for name in _names.split())


@contextmanager
def kept() -> Iterator[None]:
    """Keep the memory of freed tensors for later ones, if the C library is glibc; otherwise nothing changes.

    At the end, free memory is returned to the system, if it is more than the 64 MiB that glibc keeps by
    itself; less is left for whatever comes next. That is what glibc counts as free, returned before or not.
    May be nested, and used by several threads.

    >>> with kept():
    ...     x = [0.0] * 10**6
    """
    _count(1)
    try:
        yield
    finally:
        _count(-1)


def _count(change: int) -> None:
    global _users
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is None or not hasattr(libc, "mallopt"):
        return
    with _lock:
        _users += change
        if _users == 1 and change == 1:
            libc.mallopt(MMAP_MAX, 0)
            libc.mallopt(TRIM_THRESHOLD, -1)
        elif _users == 0:  # the state that glibc reaches by itself once blocks of that size have been freed
            libc.mallopt(MMAP_MAX, 65536)
            libc.mallopt(MMAP_THRESHOLD, LARGEST)
            libc.mallopt(TRIM_THRESHOLD, 2 * LARGEST)
            if _free_bytes(libc) > 2 * LARGEST:
                libc.malloc_trim(0)


def _free_bytes(libc: ctypes.CDLL) -> float:
    """The free memory that glibc holds; before glibc 2.33, which does not say it, infinity."""
    if not hasattr(libc, "mallinfo2"):
        return float("inf")
    libc.mallinfo2.restype = _Counts
    return float(libc.mallinfo2().fordblks)
