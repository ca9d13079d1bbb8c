"""Whatever is wrong with a stranger's file is one line that names the file."""

import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fewshot.core.errors import InputError


@contextmanager
def reading(where: str | Path, expected: str) -> Iterator[None]:
    """Report any error of a block that reads a file as an `InputError`; those that are one stay as they are.

    Decoders raise almost anything when a file is damaged on purpose, and a file may ask for more memory than
    there is or be nested more deeply than a stack is.

    Args:
        where: the file.
        expected: what it should have been.

    >>> with reading("f.json", "a list of names"):
    ...     {}["names"]
    Traceback (most recent call last):
    ...
    fewshot.InputError: f.json: expected a list of names (KeyError: 'names')
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{where}: expected {expected} ({cause(error)})") from error


def cause(error: BaseException, most: int = 160) -> str:
    """An error's text on one short line, with its kind if the text alone says little.

    >>> cause(MemoryError()), cause(KeyError("names")), cause(ValueError("its end is missing"))
    ('MemoryError', "KeyError: 'names'", 'its end is missing')
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error)[: 10 * most].split())[:most]
    if text and not isinstance(error, LookupError | TypeError | AttributeError):
        return text
    return f"{type(error).__name__}: {text}".removesuffix(": ")


def brief(value: Any) -> str:
    """A value for a message: as `repr` shows it, but short however large the value is.

    >>> brief(list(range(10**6))), brief("a" * 100)
    ('[0, 1, 2, ...]', "'aaaaaaaaaaaaaaaaaaaaaaaaaa...aaaaaaaaaaaaaaaaaaaaaaaaaaa'")
    """
    short = reprlib.Repr()
    short.maxlevel, short.maxlist, short.maxtuple, short.maxdict, short.maxset = 2, 3, 3, 3, 3
    short.maxstring = short.maxother = short.maxlong = 60
    try:
        return short.repr(value)
    except Exception:  # a number of more digits than Python prints
        return type(value).__name__
