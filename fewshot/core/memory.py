"""Memory that stays with the process from one step to the next."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

# Of glibc's mallopt, see its manual page.
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
LARGEST = 32 * 2**20  # bytes: where glibc itself stops raising the size from which blocks are mapped

_lock, _users = Lock(), 0  # the allocator is one for the whole process, so is the count of who uses it so


@contextmanager
def kept() -> Iterator[None]:
    """Keep what large tensors free for those to come, on a processor with glibc; elsewhere nothing changes.

    Else each large block is given back to the system when it is freed, and comes anew, page by page, with the
    next step, which can take as long as all the computing. At the end what is free goes back to the system.

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
        elif _users == 0:  # as glibc has it once blocks of that size have been freed
            libc.mallopt(MMAP_MAX, 65536)
            libc.mallopt(MMAP_THRESHOLD, LARGEST)
            libc.mallopt(TRIM_THRESHOLD, 2 * LARGEST)
            libc.malloc_trim(0)
