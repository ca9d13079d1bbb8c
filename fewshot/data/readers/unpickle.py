"""Pickles from others, read without running what they ask for."""

from __future__ import annotations

import io
import pickle
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from fewshot.core.errors import InputError
from fewshot.data.readers.archives import HTML, is_html


def unpickle(content: bytes, where: str) -> Any:
    """What a pickle holds: numpy arrays, lists, dicts, numbers and text; the text of Python 2 as latin-1.

    Args:
        content: the pickle.
        where: its name, for messages.

    Raises:
        InputError: the pickle asks for anything else, which is named and not called; or it is not whole.

    Example:
        >>> unpickle(pickle.dumps({"labels": np.arange(3)}), "labels.pkl")
        {'labels': array([0, 1, 2])}
        >>> unpickle(pickle.dumps(print), "bad.pkl")
        Traceback (most recent call last):
        ...
        fewshot.InputError: bad.pkl: refused: the pickle asks for builtins.print; only numpy arrays, lists, dicts, numbers and text are read
    """  # noqa: E501
    if is_html(content):
        raise InputError(f"{where}: {HTML}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy's, of how old pickles spell a dtype
            return _Restricted(io.BytesIO(content), encoding="latin1").load()
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    except Exception as error:  # bytes that are no pickle can raise almost anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{where}: not a whole pickle ({reason})") from None


class _Restricted(pickle.Unpickler):
    """Finds what makes arrays and dicts, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _allowed()[module.replace("numpy._core", "numpy.core"), name]
        except KeyError:
            raise InputError(
                f"refused: the pickle asks for {module}.{name}; only numpy arrays, lists, dicts, numbers and "
                "text are read"
            ) from None


def _allowed() -> dict[tuple[str, str], Callable[..., Any]]:
    """By the names that pickles of numpy 1 and 2 and of Python 2 and 3 use."""
    array = np.empty(0)
    return {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("numpy.core.multiarray", "_reconstruct"): array.__reduce__()[0],  # type: ignore[dict-item]
        ("numpy.core.multiarray", "scalar"): np.float64(0).__reduce__()[0],  # type: ignore[dict-item]
        ("numpy.core.numeric", "_frombuffer"): array.__reduce_ex__(5)[0],  # type: ignore[dict-item]
        ("_codecs", "encode"): _encode,
        ("collections", "OrderedDict"): OrderedDict,
    }


def _encode(text: str, encoding: str) -> bytes:
    """How protocol 2 writes bytes."""
    if encoding != "latin1":
        raise InputError(f"refused: the pickle asks for the encoding {encoding}")
    return text.encode(encoding)
