"""Arrays of numpy's files: their headers are checked against the file's size before anything is read."""

from __future__ import annotations

import ast
import math
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Collection
from io import BufferedIOBase
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from fewshot.core.errors import InputError
from fewshot.core.untrusted.guard import cause
from fewshot.core.untrusted.plain import check_growth, open_plain

KINDS = "biufSU"  # truth values, numbers, text; no objects, no complex numbers, no dates
LONGEST_HEADER = 4096
AXES = 8


class Header(NamedTuple):
    """What a .npy file says of its array, and where the array begins."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    start: int

    @property
    def size(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * self.dtype.itemsize


Check = Callable[[dict[str, Header]], None]


def read_npy(path: Path) -> np.ndarray:
    """The array of an .npy file.

    Raises:
        InputError: not a plain file with an array of numbers or text, or not of the size that it says.
    """
    with open_plain(path) as file:
        try:
            header = _header(file, path.stat().st_size)
            return _array(file, header)
        except Exception as error:
            raise InputError(f"{path}: expected an .npy of a plain array ({cause(error)})") from error


def map_npy(path: Path) -> np.ndarray:
    """The array of an .npy file over a private memory map (copy on write); nothing is read yet.

    Raises:
        InputError: as of `read_npy`.
    """
    with open_plain(path) as file:
        try:
            header = _header(file, path.stat().st_size)
        except Exception as error:
            raise InputError(f"{path}: expected an .npy of a plain array ({cause(error)})") from error
        if not header.size:
            return np.empty(header.shape, header.dtype)
        order = "F" if header.fortran else "C"
        return np.memmap(file, header.dtype, "c", header.start, header.shape, order)  # type: ignore[call-overload, no-any-return]


def read_npz(
    path: Path, names: Collection[str], check: Check = lambda headers: None
) -> dict[str, np.ndarray]:
    """Some arrays of an .npz file.

    Args:
        path: the file.
        names: the arrays to read, of those that there are.
        check: gets their headers, before anything else is read.

    Raises:
        InputError: not an .npz of arrays of numbers or text, or not of the sizes that it says; or from
            ``check``.
    """
    with open_plain(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return _members(archive, path, names, check)
        except InputError:
            raise
        except Exception as error:  # zipfile and zlib raise almost anything on damaged files
            raise InputError(f"{path}: expected an .npz of plain arrays ({cause(error)})") from error


def _members(
    archive: zipfile.ZipFile, path: Path, names: Collection[str], check: Check
) -> dict[str, np.ndarray]:
    wanted: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        name = entry.filename.removesuffix(".npy")
        if name in wanted:
            raise InputError(f"{path}: expected each array once, got {name} again")
        if name in names:
            wanted[name] = entry
    headers = {}
    for name, entry in wanted.items():
        check_growth(f"{path}: {name}", entry.file_size, entry.compress_size)
        with archive.open(entry) as member:
            headers[name] = _header(member, entry.file_size)
    check(headers)
    arrays = {}
    for name, entry in wanted.items():
        with archive.open(entry) as member:
            member.read(headers[name].start)
            arrays[name] = _array(member, headers[name])
            member.read(1)  # at the end, the checksum is compared
    return arrays


def _header(file: BufferedIOBase | IO[bytes], size: int) -> Header:
    """Read a header.

    Args:
        file: at its start.
        size: of the whole file in bytes.

    Raises:
        ValueError: not such a header, or not one of an array that fills the file.
    """
    start = file.read(8)
    if start[:6] != b"\x93NUMPY" or start[6:7] not in (b"\1", b"\2", b"\3"):
        raise ValueError("its first bytes are not those of an array")
    form = "<H" if start[6] == 1 else "<I"
    (length,) = struct.unpack(form, file.read(struct.calcsize(form)))
    if length > LONGEST_HEADER:
        raise ValueError(f"a header of {length} bytes")
    text = file.read(length)
    shape, fortran, dtype = _parsed(text, "utf-8" if start[6] == 3 else "latin-1")
    header = Header(shape, fortran, dtype, 8 + struct.calcsize(form) + length)
    if header.start + header.size != size:
        raise ValueError(f"{header.size} bytes for shape {list(shape)}, the file has {size - header.start}")
    return header


def _parsed(text: bytes, encoding: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the letters in a damaged header
        # Python 2 wrote an L after large numbers.
        content = ast.literal_eval(re.sub(r"(\d)L\b", r"\1", text.decode(encoding).strip()))
    shape, fortran, code = content["shape"], content["fortran_order"], content["descr"]
    whole = isinstance(shape, tuple) and all(type(side) is int and 0 <= side < 2**60 for side in shape)
    if not whole or len(shape) > AXES or not isinstance(fortran, bool) or not isinstance(code, str):
        raise ValueError("a header of something else")
    dtype = np.dtype(code)
    if dtype.kind not in KINDS or dtype.hasobject or not dtype.itemsize:
        raise ValueError(f"values of the type {dtype}")
    return shape, fortran, dtype


def _array(file: BufferedIOBase | IO[bytes], header: Header) -> np.ndarray:
    array = np.empty(math.prod(header.shape), header.dtype)
    view, at = memoryview(array.view("u1") if header.size else b""), 0  # type: ignore[arg-type]
    while at < header.size:
        part = file.read(min(header.size - at, 2**24))
        if not part:
            raise EOFError("its end is missing")
        view[at : at + len(part)] = part
        at += len(part)
    if header.dtype.kind == "U" and header.size:
        order = header.dtype.byteorder.replace("|", "=")
        if array.view(f"{order}u4").max() > 0x10FFFF:
            raise ValueError("text with letters that do not exist")
    return array.reshape(header.shape, order="F" if header.fortran else "C")
