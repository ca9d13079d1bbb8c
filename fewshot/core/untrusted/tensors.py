"""Tensors and plain values of torch's files and of safetensors."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any

from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.core.untrusted.calls import Refused
from fewshot.core.untrusted.guard import brief, reading
from fewshot.core.untrusted.pickled_tensors import NUMBERS
from fewshot.core.untrusted.plain import MIB, open_plain, read_plain
from fewshot.core.untrusted.torch_files import check_zip, read_legacy, read_zip

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
    with open_plain(path) as file, reading(path, expected):
        legacy = legacy and not zipfile.is_zipfile(file)
        if not legacy:
            check_zip(file)
        content = _loaded(file, legacy)
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
        if not isinstance(tensor, Tensor) or tensor.dtype not in NUMBERS:
            got = tensor.dtype if isinstance(tensor, Tensor) else brief(tensor)
            raise InputError(f"{where}: {name}: {key[:100]!r}: expected a tensor of real numbers, got {got}")
        if not tensor.isfinite().all():
            raise InputError(f"{where}: {name}: {key[:100]!r}: expected finite numbers, got nan or infinity")
    return state


def _loaded(file: BufferedReader, legacy: bool) -> Any:
    """The content of a file of torch's, zip file or not."""
    try:
        return read_legacy(file) if legacy else read_zip(file)
    except MemoryError:
        raise
    except Refused as error:
        raise ValueError(f"it holds {error}") from error
    except Exception as error:
        raise ValueError("it is damaged") from error


def _check_values(content: Any) -> None:
    """Tensors and plain values; not too deep, and not too many."""
    left, waiting = MOST, [(content, DEEPEST)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, Mapping | list | tuple):
            inner = list(value.values() if isinstance(value, Mapping) else value)
            left -= len(inner)
            if depth == 0 or left < 0:
                raise ValueError("too many values, or too deep in each other")
            if isinstance(value, Mapping) and not all(isinstance(key, str | int) for key in value):
                raise ValueError("a key that is not text or a number")
            waiting += [(one, depth - 1) for one in inner]
        elif not isinstance(value, (Tensor, *PLAIN)):
            raise ValueError(f"a value of the type {type(value).__name__}")
