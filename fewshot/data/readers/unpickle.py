"""Pickles from strangers, read without running any code in them."""

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
    """Read a pickle of numpy arrays, lists, dicts, numbers and text; text of Python 2 is read as latin-1.

    Args:
        content: the pickle.
        where: its name, for messages.

    Raises:
        InputError: the pickle asks for anything else, which is named and not called; or it is incomplete.

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
            warnings.simplefilter("ignore")  # numpy warns of the spelling of dtypes in old pickles
            return _Restricted(io.BytesIO(content), encoding="latin1").load()
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    except Exception as error:  # bytes that are not a pickle can raise almost anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{where}: not a complete pickle ({reason})") from None


class _Restricted(pickle.Unpickler):
    """Finds what is needed for arrays and dicts, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _allowed()[module.replace("numpy._core", "numpy.core"), name]
        except KeyError:
            raise InputError(
                f"refused: the pickle asks for {module}.{name}; only numpy arrays, lists, dicts, numbers and "
                "text are read"
            ) from None


def _allowed() -> dict[tuple[str, str], Callable[..., Any]]:
    """What may be called, by the names in pickles of numpy 1 and 2 and of Python 2 and 3."""
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
    """The function by which protocol 2 stores bytes."""
    if encoding != "latin1":
        raise InputError(f"refused: the pickle asks for the encoding {encoding}")
    return text.encode(encoding)
