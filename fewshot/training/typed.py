"""Typed dataclasses from plain values, such as those of a YAML file, with every key and value checked.

Imports nothing heavy, since the command line is made from such dataclasses.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from fewshot.core.errors import InputError
from fewshot.core.untrusted.guard import brief

MOST_VALUES = 1000  # of a key that takes several


class Section:
    """Checks of values for dataclasses; an error names the key, with `_name` in front of it."""

    _name: ClassVar[str] = ""

    def _require(self, key: str, holds: bool, expected: str) -> None:
        if not holds:
            where = f"{self._name}.{key}" if self._name else key
            raise InputError(f"{where}: expected {expected}, got {brief(getattr(self, key))}")

    def _between(self, least: int, most: int, *keys: str) -> None:
        for key in keys:
            value = getattr(self, key)
            values = value if isinstance(value, tuple) else (value,)
            fits = 0 < len(values) <= MOST_VALUES and least <= min(values) and max(values) <= most
            low = not values or min(values) < least
            self._require(key, fits, f"at least {least}" if low else f"at most {most}")

    def _positive(self, *keys: str) -> None:
        for key in keys:
            self._require(key, getattr(self, key) > 0, "a number above 0")

    def _not_negative(self, *keys: str) -> None:
        for key in keys:
            self._require(key, getattr(self, key) >= 0, "a number from 0 up")

    def _share(self, *keys: str) -> None:
        for key in keys:
            value = getattr(self, key)
            values = value if isinstance(value, tuple) else (value,)
            self._require(key, all(0 <= v <= 1 for v in values), "a share from 0 to 1")


def convert(value: Any, kind: Any, where: str = "") -> Any:
    """The value as an annotated type: a dataclass, an optional or literal one, a tuple, or a plain type.

    Args:
        value: a plain value. A single value serves as a tuple of one, a mapping as a dataclass.
        kind: the type.
        where: the dotted key of the value, for errors.

    Raises:
        InputError: an unknown key, or a value of another type; names the key.

    >>> convert("1e-2", float), convert(5, tuple[int, ...]), convert(None, int | None)
    (0.01, (5,), None)
    >>> convert(True, bool | Literal["auto"]), convert("auto", bool | Literal["auto"])
    (True, 'auto')
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return _dataclass(value, kind, where)
    if origin in (Union, types.UnionType):  # X | None, or bool | Literal
        return _of_union(value, arguments, where)
    if origin is tuple:
        values = value if isinstance(value, (list, tuple)) else [value]
        return tuple(convert(v, arguments[0], where) for v in values)
    if origin is Literal:
        return _one_of(value, arguments, where)
    if kind is float:
        try:  # YAML 1.1 reads 1e-3, which has no point, as a string
            number = float(value) if not isinstance(value, bool) else math.nan
        except (TypeError, ValueError, OverflowError):
            return _mistyped(value, kind, where)
        return number if math.isfinite(number) else _mistyped(value, kind, where)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        return _mistyped(value, kind, where)
    return value


def _dataclass(value: Any, kind: Any, where: str) -> Any:
    if is_dataclass(value):
        return value
    if not isinstance(value, dict):
        raise InputError(f"{where or 'config'}: expected keys and values, got {brief(value)}")
    hints = get_type_hints(kind)
    known = [f.name for f in fields(kind)]
    prefix = f"{where}." if where else ""
    for key in value:
        if key not in known:
            key = str(key)[:60]
            near = get_close_matches(key, known, n=1, cutoff=0.0)[0]
            raise InputError(f"{prefix}{key}: no such key (did you mean {prefix}{near}?)")
    return kind(**{key: convert(v, hints[key], prefix + key) for key, v in value.items()})


def _of_union(value: Any, kinds: tuple[Any, ...], where: str) -> Any:
    kind, other = kinds
    if other is types.NoneType:
        return None if value is None else convert(value, kind, where)
    return value if isinstance(value, kind) else _one_of(value, get_args(other), where, ("true", "false"))


def _one_of(value: Any, words: tuple[str, ...], where: str, further: tuple[str, ...] = ()) -> Any:
    if not isinstance(value, str) or value not in words:
        raise InputError(f"{where}: expected one of {', '.join(further + words)}, got {brief(value)}")
    return value


def _mistyped(value: Any, kind: type, where: str) -> Any:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    raise InputError(f"{where}: expected {names[kind]}, got {brief(value)}")


def merged(content: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dictionaries with the values of dotted keys replaced or added.

    >>> merged({"meta": {"steps": 900}}, {"meta.lr": 0.1, "seed": 3})
    {'meta': {'steps': 900, 'lr': 0.1}, 'seed': 3}
    """
    result = dict(content)
    for key, value in overrides.items():
        head, _, rest = key.partition(".")
        result[head] = merged(result.get(head) or {}, {rest: value}) if rest else value
    return result


def flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested dictionaries by dotted key.

    >>> flat({"meta": {"steps": 900}, "seed": 3})
    {'meta.steps': 900, 'seed': 3}
    """
    result: dict[str, Any] = {}
    for key, value in content.items():
        result |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return result
