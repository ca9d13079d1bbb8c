"""Programs of pickles, interpreted without calling what they name.

A pickle is a program that Python's unpickler runs; even of harmless functions it chooses the arguments. This
reader interprets the program by itself: names are only recorded, and where one is "called", a function of
ours makes the value.
"""

from __future__ import annotations

import codecs
import struct
import sys
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from fewshot.core.untrusted.calls import Name, Refused, Unfilled, fill

# What a program may take, in bytes: some, and more for each byte that was read.
ROOM, ROOM_PER_BYTE = 2**28, 16
STEP, LARGE_STEP = 64, 128  # of an instruction, and of one that makes a list, a tuple or a place in the memo
LARGE = b"](}ldt\x85\x86\x87\x94pqrR"
SIZE = {form: struct.calcsize(form) for form in ("<B", "<H", "<I", "<i", "<Q", ">d")}


class Program:
    """Interprets pickles that follow each other. Methods are named like the instructions in `pickletools`.

    Args:
        content: the pickles.

    Attributes:
        at: where the next instruction is.
        calls: what makes the value of each call that a program may ask for; None: it may only be named.
    """

    calls: ClassVar[Mapping[str, Callable[..., Any] | None]] = {}

    def __init__(self, content: bytes) -> None:
        self.content, self.at, self.spent = content, 0, 0

    def run(self) -> Any:
        """The value of the next pickle.

        Raises:
            Refused: a name or a call that is not in ``calls``.
            MemoryError: it asks for more than a file of its size can need.
            Exception: almost any other, of bytes that are not a pickle.
        """
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        while self.at < len(self.content):
            code = self.content[self.at]
            self.at += 1
            if code == STOP:
                return self.stack.pop()
            action = ACTIONS[code]
            if action is None:
                raise ValueError(f"an instruction that plain values do not need, {bytes([code])!r}")
            self.spend(STEPS[code])
            action(self)
        raise ValueError("its end is missing")

    # What the kinds of programs differ in.

    def built(self, target: Any, state: Any) -> Any:
        """A value that is given its state."""
        raise Refused(f"a state of {type(target).__name__}")

    def stored(self, identity: Any) -> Any:
        """A value that is outside the program."""
        raise ValueError("a value that is stored elsewhere")

    def cost(self, value: Any) -> int:
        """About as many bytes as a value takes; those of what is in it were counted before."""
        return STEP * (1 + len(value)) if isinstance(value, list | tuple | dict) else sys.getsizeof(value)

    def spend(self, size: int) -> None:
        """Count bytes that the program takes."""
        self.spent += size
        if self.spent > ROOM + ROOM_PER_BYTE * self.at:
            raise MemoryError("it asks for more memory than a file of its size can need")

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
        target = self.stack[-1]
        if not isinstance(target, dict) or len(values) % 2:
            raise TypeError("items for something that is not a dict")
        fill(target, values)

    def new_dict(self) -> None:
        values = self.marked()
        self.stack.append({})
        self.update(values)

    # Names and calls.

    def find(self, module: str, name: str) -> None:
        path = f"{module.replace('numpy._core', 'numpy.core')}.{name}"
        if path not in self.calls:
            raise Refused(path[:200])
        self.stack.append(Name(path))

    def stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise TypeError("a name that is not text")
        self.find(module, name)

    def reduce(self) -> None:
        arguments, what = self.stack.pop(), self.stack.pop()
        if not (isinstance(what, Name) and isinstance(arguments, tuple)):
            raise TypeError("a call of something that is not a function")
        make = self.calls[what.path]
        if make is None:
            raise Refused(f"a call of {what.path}")
        self.pay(arguments)
        found = make(*arguments)
        self.spend(self.cost(found))
        self.stack.append(found)

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        self.pay(state if isinstance(state, tuple) else (state,))
        self.stack[-1] = found = self.built(target, state)
        self.spend(self.cost(found))
        if isinstance(target, Unfilled):
            for place in target.places:
                self.memo[place] = found
            target.places.clear()

    def pay(self, values: tuple[Any, ...]) -> None:
        """Count what a call is given, as it may be looked through."""
        self.spend(self.cost(values))
        self.spend(sum(map(self.cost, values)))

    def persistent(self) -> None:
        identity = self.stack.pop()
        self.pay(identity if isinstance(identity, tuple) else (identity,))
        self.stack.append(self.stored(identity))


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


Action = Callable[[Program], Any]


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


BY_CODE: dict[str, Action] = {
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
    "(": Program.mark,
    "l": lambda p: p.join(list),
    "d": Program.new_dict,
    "t": lambda p: p.join(tuple),
    "\x85": lambda p: p.tuple_of(1),
    "\x86": lambda p: p.tuple_of(2),
    "\x87": lambda p: p.tuple_of(3),
    "a": lambda p: p.extend([p.stack.pop()]),
    "e": lambda p: p.extend(p.marked()),
    "s": lambda p: p.update([p.stack.pop(-2), p.stack.pop()]),
    "u": lambda p: p.update(p.marked()),
    "0": lambda p: p.stack.pop() if p.stack else p.marked(),
    "1": Program.marked,
    "2": lambda p: p.stack.append(p.stack[-1]),
    "p": lambda p: p.put(int(p.line())),
    "q": lambda p: p.put(p.number("<B")),
    "r": lambda p: p.put(p.number("<I")),
    "\x94": lambda p: p.put(len(p.memo)),
    "g": lambda p: p.stack.append(p.memo[int(p.line())]),
    "h": lambda p: p.stack.append(p.memo[p.number("<B")]),
    "j": lambda p: p.stack.append(p.memo[p.number("<I")]),
    "c": lambda p: p.find(_text(p.line()), _text(p.line())),
    "\x93": Program.stack_global,
    "Q": Program.persistent,
    "R": Program.reduce,
    "b": Program.build,
}
STOP = ord(".")
ACTIONS = [BY_CODE.get(chr(code)) for code in range(256)]
STEPS = [LARGE_STEP if code in LARGE else STEP for code in range(256)]
