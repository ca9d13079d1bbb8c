"""Numpy arrays of a stranger's pickle, made from bytes whose number is checked against shape and type."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from fewshot.core.untrusted.calls import Refused, Unfilled, encoded, ordered
from fewshot.core.untrusted.guard import brief

KINDS = r"[|<>=]?(b1|[iu][1248]|f[248]|[SU][1-9]\d{0,8}|O[48]?)"  # of arrays, as numpy writes them


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


class UnfilledArray(Unfilled):
    """An array whose content comes later."""


def type_of(code: Any, *_: Any) -> Type:
    """The call of ``numpy.dtype``; the flags after the code concern objects that are shared."""
    found = re.fullmatch(KINDS, code) if isinstance(code, str) else None
    if found is None:
        raise Refused(f"arrays of the type {brief(code)}")
    return Type(found[1], code[0] if code[0] in "<>" else "|")


def order_of(state: tuple[Any, ...]) -> str:
    """The order of bytes, in the state of a type without parts or names."""
    if len(state) < 5 or state[1] not in ("<", ">", "|", "=") or state[2:5] != (None, None, None):
        raise Refused(f"a type of arrays with the state {brief(state)}")
    return str(state[1])


def from_buffer(content: Any, kind: Any, shape: Any, order: Any, axes: Any = None) -> np.ndarray:
    """The call of ``_frombuffer``; ``axes`` is of arrays whose axes are in another order than C's."""
    if order != "K":
        return array(content, kind, shape, order)
    if not isinstance(axes, tuple | list) or not all(type(axis) is int for axis in axes):
        raise Refused(f"an array with the axes {brief(axes)}")
    return array(content, kind, shape, "C").transpose(axes)


def scalar(kind: Any, content: Any) -> Any:
    """The call of ``scalar``."""
    if isinstance(kind, Type) and kind.code.startswith("O"):
        raise Refused("a number that is an object")
    return array(content, kind, (), "C")[()]


def array(content: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    """An array from its bytes, or from a list of objects."""
    if not isinstance(kind, Type) or order not in ("C", "F"):
        raise Refused(f"an array of {brief(kind)} in the order {brief(order)}")
    if isinstance(shape, int):
        shape = (shape,)
    whole = isinstance(shape, tuple) and all(type(side) is int and 0 <= side < 2**60 for side in shape)
    if not whole or len(shape) > 32:
        raise Refused(f"an array of the shape {brief(shape)}")
    count = math.prod(shape)
    if kind.code.startswith("O"):
        if not isinstance(content, list) or len(content) != count:
            raise Refused(f"an array of {count} objects from another number of them")
        objects = np.empty(count, object)
        for place, value in enumerate(content):
            objects[place] = value
        return objects.reshape(shape, order=order)
    if isinstance(content, str):  # as Python 2 wrote it
        content = content.encode("latin-1")
    dtype = kind.dtype()
    if not isinstance(content, bytes) or len(content) != count * dtype.itemsize:
        size = len(content) if isinstance(content, bytes) else type(content).__name__
        raise Refused(f"an array of {count} x {dtype.itemsize} bytes from {size}")
    if not count:
        return np.empty(shape, dtype)
    found = np.frombuffer(content, dtype)
    if dtype.kind == "U" and found.view(dtype.byteorder.replace("|", "=") + "u4").max() > 0x10FFFF:
        raise Refused("text with letters that do not exist")
    if dtype.kind == "b":
        found = found.view("u1") != 0
    return found.reshape(shape, order=order)


CALLS: dict[str, Callable[..., Any] | None] = {
    "numpy.ndarray": None,
    "numpy.dtype": type_of,
    "numpy.core.multiarray._reconstruct": lambda *_: UnfilledArray([]),
    "numpy.core.multiarray.scalar": scalar,
    "numpy.core.numeric._frombuffer": from_buffer,
    "_codecs.encode": encoded,
    "collections.OrderedDict": ordered,
    "__builtin__.bytes": lambda: b"",  # how protocol 2 stores no bytes at all
    "builtins.bytes": lambda: b"",
}
