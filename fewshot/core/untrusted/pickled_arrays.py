"""Numpy arrays of a stranger's pickle, made from bytes whose number is checked against shape and type."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn

import numpy as np

from fewshot.core.errors import InputError
from fewshot.core.untrusted.guard import brief

KINDS = r"[|<>=]?(b1|[iu][1248]|f[248]|[SU][1-9]\d{0,8}|O[48]?)"  # of arrays, as numpy writes them
ONLY = "only numpy arrays, lists, dicts, numbers and text are read"


@dataclass(eq=False)
class Type:
    """The type of an array's elements: kind, bytes per element, order of the bytes."""

    code: str
    order: str = "|"

    def dtype(self) -> np.dtype[Any]:
        return _dtype(self.code, self.order)


@lru_cache(100)
def _dtype(code: str, order: str) -> np.dtype[Any]:
    dtype = np.dtype(code)
    return dtype.newbyteorder("<") if order == "<" else dtype.newbyteorder(">") if order == ">" else dtype


@dataclass(eq=False)
class Unfilled:
    """An array whose content comes later, and where the program keeps it."""

    places: list[int]


def refuse(what: str) -> NoReturn:
    """Say what the pickle asks for, and that it is not done."""
    raise InputError(f"refused: the pickle asks for {what}; {ONLY}")


def type_of(code: Any, *_: Any) -> Type:
    """The call of ``numpy.dtype``; the flags after the code concern objects that are shared."""
    found = re.fullmatch(KINDS, code) if isinstance(code, str) else None
    if found is None:
        refuse(f"arrays of the type {brief(code)}")
    return Type(found[1], code[0] if code[0] in "<>" else "|")


def order_of(state: tuple[Any, ...]) -> str:
    """The order of bytes, in the state of a type without parts or names."""
    if len(state) < 5 or state[1] not in ("<", ">", "|", "=") or state[2:5] != (None, None, None):
        refuse(f"a type of arrays with the state {brief(state)}")
    return str(state[1])


def from_buffer(content: Any, kind: Any, shape: Any, order: Any, axes: Any = None) -> np.ndarray:
    """The call of ``_frombuffer``; ``axes`` is of arrays whose axes are in another order than C's."""
    if order != "K":
        return array(content, kind, shape, order)
    if not isinstance(axes, tuple | list) or not all(type(axis) is int for axis in axes):
        refuse(f"an array with the axes {brief(axes)}")
    return array(content, kind, shape, "C").transpose(axes)


def scalar(kind: Any, content: Any) -> Any:
    """The call of ``scalar``."""
    if isinstance(kind, Type) and kind.code.startswith("O"):
        refuse("a number that is an object")
    return array(content, kind, (), "C")[()]


def array(content: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    """An array from its bytes, or from a list of objects."""
    if not isinstance(kind, Type) or order not in ("C", "F"):
        refuse(f"an array of {brief(kind)} in the order {brief(order)}")
    if isinstance(shape, int):
        shape = (shape,)
    whole = isinstance(shape, tuple) and all(type(side) is int and 0 <= side < 2**60 for side in shape)
    if not whole or len(shape) > 32:
        refuse(f"an array of the shape {brief(shape)}")
    count = math.prod(shape)
    if kind.code.startswith("O"):
        if not isinstance(content, list) or len(content) != count:
            refuse(f"an array of {count} objects from another number of them")
        objects = np.empty(count, object)
        for place, value in enumerate(content):
            objects[place] = value
        return objects.reshape(shape, order=order)
    if isinstance(content, str):  # as Python 2 wrote it
        content = content.encode("latin-1")
    dtype = kind.dtype()
    if not isinstance(content, bytes) or len(content) != count * dtype.itemsize:
        size = len(content) if isinstance(content, bytes) else type(content).__name__
        refuse(f"an array of {count} x {dtype.itemsize} bytes from {size}")
    if not count:
        return np.empty(shape, dtype)
    found = np.frombuffer(content, dtype)
    if dtype.kind == "U" and found.view(dtype.byteorder.replace("|", "=") + "u4").max() > 0x10FFFF:
        refuse("text with letters that do not exist")
    if dtype.kind == "b":
        found = found.view("u1") != 0
    return found.reshape(shape, order=order)


def fill(target: Any, values: list[Any]) -> None:
    """Add keys and values, one after the other in a list, to a dict."""
    if not isinstance(target, dict) or len(values) % 2:
        raise TypeError("items for something that is not a dict")
    for key, value in zip(values[::2], values[1::2], strict=True):
        # Keys of which many could be made that share a hash would take very long.
        if not (isinstance(key, str | bytes | np.str_) or (isinstance(key, int) and abs(key) < 2**60)):
            refuse(f"a dict with the key {brief(key)}")
        target[key] = value


def _encoded(text: Any, encoding: Any) -> bytes:
    """The call by which protocol 2 stores bytes."""
    if encoding != "latin1" or not isinstance(text, str):
        refuse(f"the encoding {brief(encoding)}")
    return text.encode("latin-1")


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2


def _ordered(pairs: Any = ()) -> dict[Any, Any]:
    """The call of ``OrderedDict``, with nothing or with a list of keys and values."""
    if not isinstance(pairs, list | tuple) or not all(_is_pair(pair) for pair in pairs):
        refuse("an OrderedDict of something that is not pairs")
    found: dict[Any, Any] = {}
    fill(found, [part for pair in pairs for part in pair])
    return found


CALLS: dict[str, Callable[..., Any]] = {
    "dtype": type_of,
    "_reconstruct": lambda *_: Unfilled([]),
    "_frombuffer": from_buffer,
    "scalar": scalar,
    "encode": _encoded,
    "OrderedDict": _ordered,
    "bytes": lambda: b"",  # how protocol 2 stores no bytes at all
}
