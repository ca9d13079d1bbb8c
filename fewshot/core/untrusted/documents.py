"""JSON and YAML of a limited size and depth."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from fewshot.core.errors import InputError
from fewshot.core.untrusted.guard import cause, reading
from fewshot.core.untrusted.plain import MIB, read_plain

LARGEST_JSON = 256 * MIB  # the description of a pack of a million classes
LARGEST_YAML = 4 * MIB
DEEPEST = 50  # lists and mappings in each other
NOT_DECIMAL = "(?!.*:|[-+]?0[0-9_xb])"  # what numbers of another base begin with or hold
MOST = 10**6  # values of a YAML file, each alias counted as all that it stands for


def read_json(path: Path, expected: str = "JSON", most: int = LARGEST_JSON) -> Any:
    """The content of a JSON file.

    Args:
        path: the file.
        expected: what it should be, for messages.
        most: the largest size in bytes.

    Raises:
        InputError: not a plain file of that size, or not JSON.
    """
    with reading(path, expected):
        return parse_json(read_plain(path, most))


def parse_json(text: bytes) -> Any:
    """The value of JSON in memory.

    Raises:
        ValueError: not JSON.
    """
    return json.loads(text)


def read_yaml(path: Path) -> Any:
    """The content of a YAML file.

    Raises:
        InputError: not a plain file of at most 4 MiB; as of `parse_yaml`.
    """
    return parse_yaml(read_plain(path, LARGEST_YAML), path)


def parse_yaml(text: bytes | str, where: str | Path) -> Any:
    """The value of YAML in memory; by libyaml if it is there, which is ten times as fast.

    Numbers are decimal: ``1:30`` and ``010`` are text, not the 90 and the 8 that YAML 1.1 has for them.

    Args:
        text: the YAML.
        where: the file or the option, for messages.

    Raises:
        InputError: not YAML, nested too deeply, with a key twice, or with aliases that stand for too much.

    >>> parse_yaml("[5, 1:30, 010, 0.5]", "ways")
    [5, '1:30', '010', 0.5]
    """
    import yaml

    loader = _decimal_loader()
    try:
        _check_events(text, loader, where)
        return yaml.load(text, Loader=loader)
    except InputError:
        raise
    except Exception as error:  # also a date that does not exist, or a number of too many digits
        raise InputError(f"{where}: not YAML: {cause(error, 400)}") from error


@cache
def _decimal_loader() -> Any:
    """A loader of plain values that takes decimal numbers alone for numbers."""
    import yaml

    def decimal(tag: str, pattern: re.Pattern[str]) -> re.Pattern[str]:
        number = tag.endswith((":int", ":float"))
        return re.compile(NOT_DECIMAL + pattern.pattern, re.VERBOSE) if number else pattern

    base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    resolvers = {
        first: [(tag, decimal(tag, pattern)) for tag, pattern in known]
        for first, known in base.yaml_implicit_resolvers.items()
    }
    return type("DecimalLoader", (base,), {"yaml_implicit_resolvers": resolvers})


def _check_events(text: bytes | str, loader: Any, where: str | Path) -> None:
    """Count values as they are after aliases have been replaced, and find keys twice; nothing is built."""
    import yaml

    counts, anchors = [0], [""]  # of the collections that are open, the outermost first
    keys: list[_Keys | None] = [None]  # likewise; None: not a mapping
    known: dict[str, int] = {}
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.events.NodeEvent) and (open_keys := keys[-1]) is not None:
            line = event.start_mark.line + 1 if event.start_mark else 0
            open_keys.see(getattr(event, "value", None), f"{where}: line {line}")
        if isinstance(event, yaml.events.CollectionStartEvent):
            counts.append(1)
            anchors.append(event.anchor or "")
            keys.append(_Keys() if isinstance(event, yaml.events.MappingStartEvent) else None)
            if len(counts) > DEEPEST:
                raise InputError(f"{where}: expected at most {DEEPEST} lists and mappings in each other")
        elif isinstance(event, yaml.events.CollectionEndEvent):
            count = counts.pop()
            keys.pop()
            known[anchors.pop()] = count
            counts[-1] += count
        elif isinstance(event, yaml.events.ScalarEvent):
            known[event.anchor or ""] = 1
            counts[-1] += 1
        elif isinstance(event, yaml.events.AliasEvent):
            if event.anchor in anchors:
                raise InputError(f"{where}: the alias *{event.anchor} stands for something that holds itself")
            counts[-1] += known.get(event.anchor or "", 1)
        if counts[-1] > MOST:
            raise InputError(f"{where}: expected at most {MOST:,} values")


class _Keys:
    """The keys of a mapping whose keys and values come one after the other."""

    def __init__(self) -> None:
        self.found: set[str] = set()
        self.is_key = False

    def see(self, text: str | None, where: str) -> None:
        """The next key or value; None if it is not a scalar."""
        self.is_key = not self.is_key
        if not self.is_key or text is None:
            return
        if text in self.found:
            raise InputError(f"{where}: expected each key once, got {text!r:.60} again")
        self.found.add(text)
