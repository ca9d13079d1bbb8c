"""Pickles from strangers, as plain values and numpy arrays, by a reader that calls nothing.

A pickle is a program that Python's unpickler runs; even of harmless functions it chooses the arguments, and
numpy's constructors turn bytes into pointers. This reader interprets the program by itself: names are only
recorded, and where one is "called", an array is made from bytes checked against its shape and type.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fewshot.core.errors import InputError
from fewshot.core.untrusted.guard import cause
from fewshot.core.untrusted.pickled_arrays import CALLS, Type, Unfilled, array, fill, order_of, refuse

# Instructions of a byte or two that make up to 100 bytes (a list, a place in the memo): a pickle may have so
# many of them, and one more for each so many bytes.
LARGE, MOST_LARGE, BYTES_PER_LARGE = b"](}ldt\x85\x86\x87\x94pqrR", 2**22, 16
SIZE = {form: struct.calcsize(form) for form in ("<B", "<H", "<I", "<i", "<Q", ">d")}
NAMES = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"),
    ("_codecs", "encode"),
    ("collections", "OrderedDict"),
    ("__builtin__", "bytes"),
    ("builtins", "bytes"),
}


def unpickle(content: bytes, where: str) -> Any:
    """Read a pickle of numpy arrays, lists, dicts, numbers and text; text of Python 2 is read as latin-1.

    Arrays are of whole numbers, floats, truth values, text, bytes, or such objects; they are read-only.

    Args:
        content: the pickle.
        where: its name, for messages.

    Raises:
        InputError: the pickle asks for anything else, which is named and not called; or it is incomplete.

    Example:
        >>> import pickle
        >>> import numpy as np
        >>> unpickle(pickle.dumps({"labels": np.arange(3)}), "labels.pkl")
        {'labels': array([0, 1, 2])}
        >>> unpickle(pickle.dumps(print), "bad.pkl")
        Traceback (most recent call last):
        ...
        fewshot.InputError: bad.pkl: refused: the pickle asks for builtins.print; only numpy arrays, lists, dicts, numbers and text are read
    """  # noqa: E501
    try:
        return _Program(content).run()
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    except Exception as error:  # bytes that are not a pickle can raise almost anything
        raise InputError(f"{where}: not a complete pickle ({cause(error)})") from None


@dataclass(eq=False)
class _Name:
    """A function or class that the program names."""

    module: str
    name: str


class _Program:
    """Interprets a pickle. Methods are named like the instructions in the module `pickletools`."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        content, stop, large = self.content, ord("."), frozenset(LARGE)
        left = MOST_LARGE + len(content) // BYTES_PER_LARGE
        while self.at < len(content):
            code = content[self.at]
            self.at += 1
            if code == stop:
                return self.stack.pop()
            action = ACTIONS.get(code)
            if action is None:
                raise ValueError(f"an instruction that plain values do not need, {bytes([code])!r}")
            if code in large and (left := left - 1) < 0:
                raise ValueError("more lists, tuples and dicts than a file of its size can need")
            action(self)
        raise ValueError("its end is missing")

    # The bytes of the program.

    def take(self, count: int) -> bytes:
        end = self.at + count
        if not 0 <= count <= len(self.content) - self.at:
            raise ValueError(f"{count} bytes are missing")
        found, self.at = self.content[self.at : end], end
        return found

    def number(self, form: str) -> Any:
        (value,) = struct.unpack_from(form, self.content, self.at)
        self.at += SIZE[form]
        return value

    def line(self) -> bytes:
        end = self.content.index(b"\n", self.at)
        found, self.at = self.content[self.at : end], end + 1
        return found

    # The stack.

    def mark(self) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def marked(self) -> list[Any]:
        """What was put on the stack since the last mark."""
        found, self.stack = self.stack, self.marks.pop()
        return found

    def join(self, kind: type) -> None:
        values = self.marked()
        self.stack.append(kind(values))

    def put(self, place: int) -> None:
        self.memo[place] = value = self.stack[-1]
        if isinstance(value, Unfilled):
            value.places.append(place)

    def tuple_of(self, count: int) -> None:
        self.stack[-count:] = [tuple(self.stack[-count:])]

    # Lists and dicts.

    def extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise TypeError("items for something that is not a list")
        target.extend(values)

    def update(self, values: list[Any]) -> None:
        fill(self.stack[-1], values)

    def new_dict(self) -> None:
        values = self.marked()
        self.stack.append({})
        self.update(values)

    # Names and calls.

    def find(self, module: str, name: str) -> None:
        module = module.replace("numpy._core", "numpy.core")
        if (module, name) not in NAMES:
            refuse(f"{module}.{name}"[:200])
        self.stack.append(_Name(module, name))

    def stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise TypeError("a name that is not text")
        self.find(module, name)

    def reduce(self) -> None:
        arguments, what = self.stack.pop(), self.stack.pop()
        if not (isinstance(what, _Name) and isinstance(arguments, tuple)):
            raise TypeError("a call of something that is not a function")
        make = CALLS.get(what.name)
        if make is None:
            refuse(f"a call of {what.module}.{what.name}")
        self.stack.append(make(*arguments))

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Type) and isinstance(state, tuple):
            target.order = order_of(state)
        elif isinstance(target, Unfilled) and isinstance(state, tuple):
            _, shape, kind, fortran, content = state
            self.stack[-1] = filled = array(content, kind, shape, "F" if fortran else "C")
            for place in target.places:
                self.memo[place] = filled
        else:
            refuse(f"a state of {type(target).__name__.lstrip('_')}")


def _integer(value: bytes) -> int:
    return int.from_bytes(value, "little", signed=True)


def _plain_int(line: bytes) -> int | bool:
    return line == b"01" if line in (b"00", b"01") else int(line)


def _quoted(line: bytes) -> str:
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise ValueError("text without its quotes")
    return codecs.escape_decode(line[1:-1])[0].decode("latin-1")


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogatepass")


Action = Callable[[_Program], Any]


def _constant(value: Any) -> Action:
    return lambda program: program.stack.append(value)


def _value(form: str) -> Action:
    return lambda program: program.stack.append(program.number(form))


def _sized(form: str, read: Callable[[bytes], Any] = bytes) -> Action:
    """A value of as many bytes as the number before them says."""
    return lambda program: program.stack.append(read(program.take(program.number(form))))


def _lined(read: Callable[[bytes], Any]) -> Action:
    return lambda program: program.stack.append(read(program.line()))


def _latin(value: bytes) -> str:
    return value.decode("latin-1")


ACTIONS: dict[int, Action] = {
    ord(code): action
    for code, action in {
        "\x80": lambda p: p.take(1),  # PROTO
        "\x95": lambda p: p.take(8),  # FRAME: the instructions in it follow
        "N": _constant(None),
        "\x88": _constant(True),
        "\x89": _constant(False),
        "I": _lined(_plain_int),
        "L": _lined(lambda line: int(line.removesuffix(b"L"))),
        "J": _value("<i"),
        "K": _value("<B"),
        "M": _value("<H"),
        "\x8a": _sized("<B", _integer),
        "\x8b": _sized("<i", _integer),
        "F": _lined(float),
        "G": _value(">d"),
        "S": _lined(_quoted),
        "T": _sized("<i", _latin),
        "U": _sized("<B", _latin),
        "V": _lined(lambda line: line.decode("raw-unicode-escape")),
        "X": _sized("<I", _text),
        "\x8c": _sized("<B", _text),
        "\x8d": _sized("<Q", _text),
        "B": _sized("<I"),
        "C": _sized("<B"),
        "\x8e": _sized("<Q"),
        "\x96": _sized("<Q"),  # a bytearray
        "]": lambda p: p.stack.append([]),
        "}": lambda p: p.stack.append({}),
        ")": _constant(()),
        "(": _Program.mark,
        "l": lambda p: p.join(list),
        "d": _Program.new_dict,
        "t": lambda p: p.join(tuple),
        "\x85": lambda p: p.tuple_of(1),
        "\x86": lambda p: p.tuple_of(2),
        "\x87": lambda p: p.tuple_of(3),
        "a": lambda p: p.extend([p.stack.pop()]),
        "e": lambda p: p.extend(p.marked()),
        "s": lambda p: p.update([p.stack.pop(-2), p.stack.pop()]),
        "u": lambda p: p.update(p.marked()),
        "0": lambda p: p.stack.pop() if p.stack else p.marked(),
        "1": _Program.marked,
        "2": lambda p: p.stack.append(p.stack[-1]),
        "p": lambda p: p.put(int(p.line())),
        "q": lambda p: p.put(p.number("<B")),
        "r": lambda p: p.put(p.number("<I")),
        "\x94": lambda p: p.put(len(p.memo)),
        "g": lambda p: p.stack.append(p.memo[int(p.line())]),
        "h": lambda p: p.stack.append(p.memo[p.number("<B")]),
        "j": lambda p: p.stack.append(p.memo[p.number("<I")]),
        "c": lambda p: p.find(_text(p.line()), _text(p.line())),
        "\x93": _Program.stack_global,
        "R": _Program.reduce,
        "b": _Program.build,
    }.items()
}
