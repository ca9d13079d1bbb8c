"""Tables of classes: the one CSV format of ``classes.csv``, ``names.csv``, relations and proportions.

Columns are found by name: ``class`` (the folder; without it, ``wnid``), and any of ``name``, ``wnid``,
``path``, ``text`` and ``share``. Other columns are ignored.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from fewshot.core.errors import InputError
from fewshot.core.files import expanded
from fewshot.core.numerals import number
from fewshot.core.untrusted.plain import read_plain

TEXTS = ("name", "wnid", "path", "text")
COLUMNS = ("class", *TEXTS, "share")
LARGEST = 2**24  # bytes: 16 MiB


@dataclass(frozen=True)
class ClassRow:
    """What a table says of one class; empty or None where it says nothing.

    Args:
        name: how the class is called.
        wnid: its WordNet identifier (``"n02012849"``).
        path: its path from the root of a taxonomy, joined by ``/``.
        text: its description.
        share: its share of the queries, from 0 up.
    """

    name: str = ""
    wnid: str = ""
    path: str = ""
    text: str = ""
    share: float | None = None


ClassTable = dict[str, ClassRow]


def read_class_table(
    path: str | Path, known: Collection[str] | None = None, needs: Collection[str] = ()
) -> ClassTable:
    """The rows of a table of classes, by class and in the order of the file.

    Args:
        path: the CSV file, in UTF-8.
        known: the classes that may occur; None (default): any.
        needs: columns that have to be there (default: none).

    Raises:
        InputError: a file that cannot be read or is larger than 16 MiB; as of `parse_class_table`.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "classes.csv"
        >>> _ = file.write_text("class,path,share\\nheron,animal/bird/heron,0.2\\n")
        >>> read_class_table(file)["heron"]
        ClassRow(name='', wnid='', path='animal/bird/heron', text='', share=0.2)
    """
    path = expanded(path)
    return parse_class_table(read_plain(path, LARGEST), str(path), known, needs)


def parse_class_table(
    content: bytes, where: str, known: Collection[str] | None = None, needs: Collection[str] = ()
) -> ClassTable:
    """The rows of a table of classes in memory; arguments and result as of `read_class_table`.

    Args:
        content: the file's bytes.
        where: the file, for messages.

    Raises:
        InputError: too large, not UTF-8, not CSV, a column that is missing or there twice, two rows for one
            class, a class that is not `known`, a share that is not a number from 0 up; the line is named.
    """
    if len(content) > LARGEST:
        raise InputError(f"{where}: expected a table of at most {LARGEST >> 20} MiB")
    table: ClassTable = {}
    try:
        for line, row in _rows(content.decode("utf-8-sig"), where, needs):
            name = row["class"]
            if not name:
                raise InputError(f"{where}: line {line}: expected a class, got none")
            if name in table:
                raise InputError(f"{where}: line {line}: a second row for class {name!r:.60}")
            if known is not None and name not in known:
                raise InputError(f"{where}: line {line}: expected {_some(known)}, got class {name!r:.60}")
            share = _share(row.get("share", ""), f"{where}: line {line}")
            table[name] = ClassRow(**{column: row.get(column, "") for column in TEXTS}, share=share)
    except UnicodeDecodeError:
        raise InputError(f"{where}: expected a CSV table in UTF-8, got another encoding") from None
    return table


def _rows(text: str, where: str, needs: Collection[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The line number and the cells of each row, by column."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        columns = _columns(header, where, needs)
        for cells in reader:
            if len(cells) > len(header) or (cells and len(cells) < len(header)):
                raise InputError(
                    f"{where}: line {reader.line_num}: expected {len(header)} cells, got {len(cells)}"
                )
            if any(cell.strip() for cell in cells):
                yield reader.line_num, {name: cells[index].strip() for name, index in columns.items()}
    except csv.Error as error:
        raise InputError(f"{where}: line {reader.line_num}: not a CSV table ({error})") from None


def _columns(header: list[str], where: str, needs: Collection[str]) -> dict[str, int]:
    """The places of the columns that are read."""
    found = {name: header.index(name) for name in COLUMNS if name in header}
    if twice := [name for name in found if header.count(name) > 1]:
        raise InputError(f"{where}: line 1: expected one column '{twice[0]}', got {header.count(twice[0])}")
    if "wnid" in found:
        found.setdefault("class", found["wnid"])
    if missing := [name for name in ("class", *needs) if name not in found]:
        there = " ".join(", ".join(header).split())[:80] or "none"
        raise InputError(f"{where}: line 1: expected a column '{missing[0]}', got {there}")
    return found


def _share(cell: str, where: str) -> float | None:
    if not cell:
        return None
    share = number(cell)
    if not 0 <= share < math.inf:
        raise InputError(f"{where}: share: expected a number from 0 up, got {cell!r:.60}")
    return share


def _some(known: Collection[str]) -> str:
    """A few of the known classes, for a message."""
    few = sorted(known)[:5]
    return f"one of {', '.join(few)}{', …' if len(known) > len(few) else ''}"
