"""The files that commands write: no folder, no other output, nothing that the command reads."""

from __future__ import annotations

import os
from argparse import ArgumentTypeError
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path
from typing import NewType

from fewshot.core.errors import InputError
from fewshot.core.files import check_writable, expanded, is_stream, tell

OutputFile = NewType("OutputFile", Path)  # an option of that type is read by `output_file`

# What may be replaced in a folder that is read: files that end so, but for the tables of data sets and packs.
RESULTS = (".csv", ".json", ".npz", ".html", ".graphml", ".svg", ".pdf")
SUPPORT_TABLES = ("names.csv", "classes.csv")
PACK = ("images.npy", "meta.json")  # what a folder of packed images consists of
TABLES = (*SUPPORT_TABLES, "train.csv", "val.csv", "test.csv", *PACK)


def output_file(text: str | Path) -> OutputFile:
    """The path of a file to write, unless its text can only mean a folder, which a `Path` no longer shows.

    >>> output_file("scores.csv/")
    Traceback (most recent call last):
    ...
    argparse.ArgumentTypeError: expected a file to write, got 'scores.csv/', a folder
    """
    if os.path.basename(text) in ("", os.curdir, os.pardir):
        raise ArgumentTypeError(f"expected a file to write, got {str(text)!r}, a folder")
    try:
        return OutputFile(expanded(text))
    except InputError as error:
        raise ArgumentTypeError(str(error)) from None


def check_outputs(*paths: Path | None, inputs: Iterable[str | Path | None] = ()) -> None:
    """Before the work: refuse files that cannot be written, and report those that will be replaced.

    Args:
        paths: the files; None are left out.
        inputs: files and folders that the command reads, as of `check_kept`.

    Raises:
        InputError: the path is a folder, its folder is not a directory or not writable; two paths are of one
            file; or as of `check_kept`.
    """
    given = [path for path in paths if path is not None]
    for path in given:
        if os.path.isdir(path):
            raise InputError(f"{path}: expected a file to write, got a folder")
        if not (os.path.exists(path) and is_stream(path)):
            check_writable(path)
        elif not os.access(path, os.W_OK):
            raise InputError(f"{path}: cannot be written")
    check_different(given)
    check_kept(given, inputs)
    for path in given:
        if os.path.exists(path) and not is_stream(path):
            tell(f"{path} exists and will be replaced")


def check_different(paths: Iterable[Path]) -> None:
    """Raise an InputError if two of the files to write are one file.

    >>> check_different([Path("a.json"), Path("b/../a.json")])
    Traceback (most recent call last):
    ...
    fewshot.InputError: b/../a.json: expected another file than a.json, which is written as well
    """
    for first, second in combinations((path for path in paths if not is_stream(path)), 2):
        if _same(first, second):
            raise InputError(f"{second}: expected another file than {first}, which is written as well")


def check_kept(paths: Iterable[Path | None], inputs: Iterable[str | Path | None]) -> None:
    """Raise an InputError if a file to write would replace what the command reads, or be read next time.

    Args:
        paths: the files to write; None are left out.
        inputs: files and folders that are read, or that would be if they existed. In a folder, pictures and
            the tables of data sets are refused, and what is there and not a result by its name.
    """
    read = [expanded(path) for path in inputs if path is not None]
    for path in paths:
        if path is None or is_stream(path):
            continue
        if any(_holds(other, path) if other.is_dir() else _same(other, path) for other in read):
            raise InputError(f"{path}: expected a file to write, got what the command reads")
        if path.name in PACK and all((path.parent / name).is_file() for name in PACK):
            raise InputError(f"{path}: expected a file to write, got a part of packed images")


def read_of_support(folder: str | Path) -> list[Path]:
    """What is read of a support folder: its tables, and the folders of its classes."""
    home = expanded(folder)
    return [*(home / name for name in SUPPORT_TABLES), *_folders(home)]


def read_of_data(spec: str | None) -> list[Path]:
    """What is read of a data set ``KIND[:PATH]``: its file, or its tables, data and folders.

    >>> read_of_data("glyphs"), [path.name for path in read_of_data("folder:photos.zip")]
    ([], ['photos.zip'])
    """
    place = (spec or "").partition(":")[2]
    if not place:
        return []
    home = expanded(place)
    if not home.is_dir():
        return [home]
    files = [file for file in home.iterdir() if file.is_file() and _is_data(file)]
    return [*(home / name for name in TABLES), *files, *_folders(home)]


def read_of_source(*texts: str | Path | None) -> list[Path]:
    """The files of what may also be a name: a checkpoint, features, or ``FILE.py:NAME``, even several.

    >>> [str(path) for path in read_of_source("prototypes,mine.py:median", "features.npy")]
    ['prototypes,mine.py', 'features.npy', 'features.labels.npy', 'prototypes', 'mine.py']
    """
    given, found = [str(text) for text in texts if text is not None], []
    for part in dict.fromkeys([*given, *",".join(given).split(",")]):
        path = expanded(part.rpartition(":")[0] if ".py:" in part else part)
        found += [path, path.with_suffix(".labels.npy")] if path.suffix.lower() == ".npy" else [path]
    return [path for path in found if not path.is_dir()]  # a folder that is called like a ready model


def _folders(home: Path) -> list[Path]:
    return [folder for folder in home.iterdir() if folder.is_dir()] if home.is_dir() else []


def _same(one: Path, other: Path) -> bool:
    """Whether two paths are, or would be, of one file."""
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    return one.exists() and other.exists() and one.samefile(other)


def _holds(folder: Path, path: Path) -> bool:
    """Whether a folder that is read has a file that must not be written."""
    places = [(os.path.abspath(folder), os.path.abspath(path))]
    places.append((os.path.realpath(folder), os.path.realpath(path)))
    if not any(Path(inner).is_relative_to(outer) for outer, inner in places):
        return False
    return path.name in TABLES or _is_picture(path) or (path.exists() and _is_data(path))


def _is_picture(path: Path) -> bool:
    from fewshot.data.readers.source import EXTENSIONS

    return path.suffix.lower() in EXTENSIONS


def _is_data(path: Path) -> bool:
    """Whether a file of a data set is a part of it by its name, pictures apart."""
    return path.name in TABLES or not (path.suffix.lower() in RESULTS or _is_picture(path))
