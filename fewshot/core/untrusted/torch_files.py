"""Files of `torch.save`, by the reader of pickles that calls nothing they name.

Such a file holds a pickle, and the bytes of the storages of its tensors: as members of a zip file or, as
torch before 1.6 wrote them, one after the other.
"""

from __future__ import annotations

import os
import struct
import zipfile
from io import BufferedReader
from typing import Any

from fewshot.core.untrusted.pickled_tensors import Storage, Tensors
from fewshot.core.untrusted.plain import MIB

LARGEST_PROGRAM = 64 * MIB  # of what is not tensors
LEGACY = (0x1950A86A20F9469CFC6C, 1001)  # the first two values of a file that is no zip file


def read_zip(file: BufferedReader) -> Any:
    """The content of a file of torch from 1.6 on.

    Raises:
        ValueError: it is compressed, holds more than its size, or too much that is not tensors.
        Refused: its pickle asks for anything but tensors and plain values.
        Exception: almost any other, of a damaged file.
    """
    size = os.fstat(file.fileno()).st_size
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        (name,) = (name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl"))
        home = name.removesuffix("data.pkl")
        order = archive.read(entries[f"{home}byteorder"]) if f"{home}byteorder" in entries else b"little"

        def fetch(key: str, storage: Storage) -> None:
            entry = entries[f"{home}data/{key}"]
            if entry.file_size != len(storage.content):
                raise ValueError(f"a storage of {len(storage.content)} bytes from {entry.file_size}")
            with archive.open(entry) as member:
                storage.fill(member, {b"little": "little", b"big": "big"}[order])
                member.read(1)  # at the end, the checksum is compared

        return Tensors(archive.read(name), size, fetch).run()


def check_zip(file: BufferedReader) -> None:
    """Raise a ValueError unless nothing in a file of torch can grow when it is read."""
    if not zipfile.is_zipfile(file):
        raise ValueError("it is not what torch.save writes, or its end is missing")
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise ValueError("it is compressed, which torch's files are not")
        if entry.filename.endswith(".pkl") and entry.file_size > LARGEST_PROGRAM:
            raise ValueError(f"{entry.file_size // MIB} MiB of values that are not tensors")
    size = os.fstat(file.fileno()).st_size
    if sum(entry.file_size for entry in entries) > size or len({e.filename for e in entries}) < len(entries):
        raise ValueError("its members overlap")


def read_legacy(file: BufferedReader) -> Any:
    """The content of a file of torch before 1.6.

    Raises:
        Refused: its pickle asks for anything but tensors and plain values.
        Exception: almost any other, of a damaged file.
    """
    file.seek(0)
    size = os.fstat(file.fileno()).st_size
    program = Tensors(file.read(min(size, LARGEST_PROGRAM)), size, lambda key, storage: None)
    if (program.run(), program.run()) != LEGACY:
        raise ValueError("its first values are not those of torch")
    _, content, keys = program.run(), program.run(), program.run()
    if set(keys) != set(program.storages):
        raise ValueError("its storages are not those of its tensors")
    file.seek(program.at)
    for key in keys:
        storage = program.storages[key]
        (count,) = struct.unpack("<q", file.read(8))
        if count * storage.dtype.itemsize != len(storage.content):
            raise ValueError(f"a storage of {len(storage.content)} bytes from {count} numbers")
        storage.fill(file)
    return content
