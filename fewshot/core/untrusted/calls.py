"""What pickles of every kind may ask for, and how it is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fewshot.core.untrusted.guard import brief


class Refused(ValueError):
    """What a program asks for and does not get."""


@dataclass(eq=False)
class Name:
    """A function or class that the program names, with its module."""

    path: str


@dataclass(eq=False)
class Unfilled:
    """A value whose content comes later, and where the program keeps it."""

    places: list[int]


def fill(target: dict[Any, Any], values: list[Any]) -> None:
    """Add keys and values, one after the other in a list, to a dict."""
    for key, value in zip(values[::2], values[1::2], strict=True):
        # Keys of which many could be made that share a hash would take very long.
        if not (isinstance(key, str | bytes) or (isinstance(key, int) and abs(key) < 2**60)):
            raise Refused(f"a dict with the key {brief(key)}")
        target[key] = value


def encoded(text: Any, encoding: Any) -> bytes:
    """The call by which protocol 2 stores bytes."""
    if encoding != "latin1" or not isinstance(text, str):
        raise Refused(f"the encoding {brief(encoding)}")
    return text.encode("latin-1")


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2


def ordered(pairs: Any = ()) -> dict[Any, Any]:
    """The call of ``OrderedDict``, with nothing or with a list of keys and values."""
    if not isinstance(pairs, list | tuple) or not all(_is_pair(pair) for pair in pairs):
        raise Refused("an OrderedDict of something that is not pairs")
    found: dict[Any, Any] = {}
    fill(found, [part for pair in pairs for part in pair])
    return found
