"""Plain files of a limited size: no device, no FIFO, nothing that never ends."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from fewshot.core.errors import InputError

MIB = 2**20
LARGEST_IMAGE = 256 * MIB  # of an image as a file
# A compressed file may grow to this size, and beyond it by this factor: pixels compress about threefold, and
# deflate can do a thousandfold.
GROWS_TO, GROWS_BY = 256 * MIB, 20


@contextmanager
def open_plain(path: str | Path) -> Iterator[BufferedReader]:
    """Open a plain file for reading.

    Raises:
        InputError: it cannot be read, or is something else: a folder, a device, a FIFO.

    >>> with open_plain("/dev/null"):
    ...     pass
    Traceback (most recent call last):
    ...
    fewshot.InputError: /dev/null: expected a plain file, got a device, a FIFO or the like
    """
    try:
        # Opening a FIFO would wait for its writer.
        number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(number, "rb") as file:
            check_plain(path, os.fstat(number))
            yield file
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def read_plain(path: str | Path, most: int) -> bytes:
    """The bytes of a plain file.

    Args:
        path: the file.
        most: the largest size in bytes.

    Raises:
        InputError: as of `open_plain`, or the file is larger.
    """
    with open_plain(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(min(size, most))
    if size > most:
        raise InputError(f"{path}: expected at most {most / MIB:g} MiB, got more")
    return content


def check_plain(path: str | Path, status: os.stat_result) -> None:
    """Raise an InputError unless a file's status is that of a plain file."""
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path}: expected a file, got a folder")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: expected a plain file, got a device, a FIFO or the like")


def check_growth(where: str, size: int, compressed: int) -> None:
    """Refuse content that is far larger than its compressed form, before it is taken into memory.

    Args:
        where: the file, for messages.
        size: of the content, in bytes.
        compressed: of what it is stored in.

    >>> check_growth("zeros.zip: zeros.png", 2**32, 2**22)
    Traceback (most recent call last):
    ...
    fewshot.InputError: zeros.zip: zeros.png: expected at most 256 MiB from 4 MiB of a compressed file, got 4096 MiB
    """  # noqa: E501
    most = max(GROWS_TO, GROWS_BY * compressed)
    if size > most:
        raise InputError(
            f"{where}: expected at most {most // MIB} MiB from {compressed / MIB:.3g} MiB of a compressed "
            f"file, got {size // MIB} MiB"
        )
