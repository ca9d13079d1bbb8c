"""Tensors and plain values of torch's files and of safetensors."""

from __future__ import annotations

import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.core.untrusted.guard import brief, reading
from fewshot.core.untrusted.plain import MIB, open_plain, read_plain

LARGEST_PROGRAM = 64 * MIB  # of what is not tensors in torch's files
LONGEST_HEADER = 16 * MIB
DEEPEST, MOST = 30, 2 * 10**6  # values in each other, and in all
PLAIN = (bool, int, float, str, bytes, type(None))
Kind = type | tuple[type, ...]


def read_tensors(path: Path, expected: str, legacy: bool = False) -> Any:
    """What `torch.save` wrote: tensors and plain values, on the CPU. Nothing in it is run.

    Every tensor is dense, and has as many bytes in the file as its shape says.

    Args:
        path: the file.
        expected: what it should be, for messages.
        legacy: also read the format of torch before 1.6, which is no zip file; default False.

    Raises:
        InputError: not a plain file of that kind, an incomplete one, or one with other tensors.
    """
    with open_plain(path) as file, reading(path, expected), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of files of other kinds
        if not legacy or zipfile.is_zipfile(file):
            _check_stored(file)
        file.seek(0)
        content = _loaded(file)
        _check_values(content)
    return content


def read_safetensors(path: Path, expected: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Args:
        path: the file.
        expected: what it should be, for messages.

    Raises:
        InputError: not a plain file of that kind, or an incomplete one.
    """
    from safetensors.torch import load

    with reading(path, expected):
        content = read_plain(path, 2**40)
        (length,) = struct.unpack("<Q", content[:8])
        if length > LONGEST_HEADER:
            raise ValueError(f"a header of {length} bytes")
        return load(content)


def field(content: Mapping[str, Any], name: str, kind: Kind, where: str | Path) -> Any:
    """A value of a mapping, if it is of that kind; a truth value is no number.

    Raises:
        InputError: it is missing, or of another kind.

    >>> field({"steps": True}, "steps", int, "c.pt")
    Traceback (most recent call last):
    ...
    fewshot.InputError: c.pt: steps: expected int, got True
    """
    kinds = kind if isinstance(kind, tuple) else (kind,)
    value = content.get(name)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        names = " or ".join(one.__name__.replace("NoneType", "nothing") for one in kinds)
        raise InputError(f"{where}: {name}: expected {names}, got {brief(value)}")
    return value


def check_state(state: Any, where: str | Path, name: str = "state") -> dict[str, Tensor]:
    """A state dict, if all of its numbers are finite; raises an InputError otherwise."""
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise InputError(f"{where}: {name}: expected tensors by name, got {brief(state)}")
    for key, tensor in state.items():
        if not isinstance(tensor, Tensor) or tensor.is_complex():
            got = tensor.dtype if isinstance(tensor, Tensor) else brief(tensor)
            raise InputError(f"{where}: {name}: {key[:100]!r}: expected a tensor of real numbers, got {got}")
        if not tensor.isfinite().all():
            raise InputError(f"{where}: {name}: {key[:100]!r}: expected finite numbers, got nan or infinity")
    return state


def _loaded(file: BufferedReader) -> Any:
    """The content of a file of torch's; torch's own messages are pages of advice to trust the file."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:
        asked = re.search(r"GLOBAL ([\w.]{1,80})", str(error))
        raise ValueError(f"it holds {asked[1]}" if asked else "it is damaged") from error


def _check_stored(file: BufferedReader) -> None:
    """That nothing in a file of torch's is compressed, so that it cannot grow."""
    if not zipfile.is_zipfile(file):
        raise ValueError("it is not what torch.save writes, or its end is missing")
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                raise ValueError("it is compressed, which torch's files are not")
            if entry.filename.endswith(".pkl") and entry.file_size > LARGEST_PROGRAM:
                raise ValueError(f"{entry.file_size // MIB} MiB of values that are not tensors")


def _check_values(content: Any) -> None:
    """Tensors that are what they seem, and plain values; not too deep, and not too many."""
    left, waiting = MOST, [(content, DEEPEST)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, Tensor):
            _check_tensor(value)
        elif isinstance(value, Mapping | list | tuple):
            inner = list(value.values() if isinstance(value, Mapping) else value)
            left -= len(inner)
            if depth == 0 or left < 0:
                raise ValueError("too many values, or too deep in each other")
            if isinstance(value, Mapping) and not all(isinstance(key, str | int) for key in value):
                raise ValueError("a key that is not text or a number")
            waiting += [(one, depth - 1) for one in inner]
        elif not isinstance(value, PLAIN):
            raise ValueError(f"a value of the type {type(value).__name__}")


def _check_tensor(tensor: Tensor) -> None:
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        raise ValueError(f"a tensor that is {tensor.layout}, on {tensor.device}, or quantised")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError(f"a tensor of shape {list(tensor.shape)} that shares its numbers")
