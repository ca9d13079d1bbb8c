"""Code of the user's own: a function or class of a Python file, and where in it an error began."""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
import traceback
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from fewshot.core.errors import InputError
from fewshot.core.files import expanded

# Where code lies that is not the user's: this package, installed ones, Python's own.
OTHERS = (
    str(Path(__file__).parents[1]),
    *(sysconfig.get_paths()[name] for name in ("purelib", "platlib", "stdlib")),
    "<frozen",
)


def is_own(text: str) -> bool:
    """Whether a text is ``FILE.py:NAME``.

    >>> is_own("mine.py:median"), is_own("timm:resnet18")
    (True, False)
    """
    return ".py:" in text


def from_file(spec: str, option: str) -> tuple[Any, str]:
    """What ``FILE.py:NAME`` stands for, and NAME. The file's code is executed.

    Args:
        spec: the file's path and what it is called there.
        option: the name of the option, for errors.

    Raises:
        InputError: no such file, a file that fails when it is run, or nothing callable of that name in it.
    """
    place, _, name = spec.rpartition(":")
    module = _run(expanded(place), option)
    if not hasattr(module, name):
        there = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        near = get_close_matches(name, there, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise InputError(f"{option}: expected a function or class {name!r} in {place}, got none{hint}")
    found = getattr(module, name)
    if not callable(found):
        raise InputError(f"{option}: expected {name} to be a function or class, got {type(found).__name__}")
    return found, name


def where(error: Exception) -> str:
    """An error in one line, with the last line of the user's own code that led to it."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(OTHERS)]
    place = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}{place}" if said else f"{type(error).__name__}{place}"


def _run(file: Path, option: str) -> ModuleType:
    """A file as a module; what lies next to it can be imported, as when Python runs the file."""
    if not file.is_file():
        raise InputError(f"{option}: expected a file, got {file}, which does not exist")
    name = f"own_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles look there for it
    sys.path.insert(0, str(file.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise InputError(f"{option}: {file} cannot be run: {where(error)}") from error
    finally:
        sys.path.remove(str(file.resolve().parent))
    return module
