"""Pickles from strangers, as plain values and numpy arrays, by a reader that calls nothing they name."""

from __future__ import annotations

from typing import Any

import numpy as np

from fewshot.core.errors import InputError
from fewshot.core.untrusted.calls import Refused
from fewshot.core.untrusted.guard import cause
from fewshot.core.untrusted.pickled_arrays import CALLS, Type, UnfilledArray, array, order_of
from fewshot.core.untrusted.program import Program

ONLY = "only numpy arrays, lists, dicts, numbers and text are read"


def unpickle(content: bytes, where: str) -> Any:
    """Read a pickle of numpy arrays, lists, dicts, numbers and text; text of Python 2 is read as latin-1.

    Arrays are of whole numbers, floats, truth values, text, bytes, or such objects; they are read-only.

    Args:
        content: the pickle.
        where: its name, for messages.

    Raises:
        InputError: the pickle asks for anything else, which is named and not called; or for more memory than
            a pickle of its size can need; or it is incomplete.

    Example:
        >>> import pickle
        >>> import numpy as np
        >>> unpickle(pickle.dumps({"labels": np.arange(3)}), "labels.pkl")
        {'labels': array([0, 1, 2])}
        >>> unpickle(pickle.dumps(print), "bad.pkl")
        Traceback (most recent call last):
        ...
        fewshot.InputError: bad.pkl: refused: the pickle asks for builtins.print; only numpy arrays, lists, dicts, numbers and text are read
    """  # noqa: E501
    try:
        return _Arrays(content).run()
    except Refused as error:
        raise InputError(f"{where}: refused: the pickle asks for {error}; {ONLY}") from None
    except MemoryError as error:
        raise InputError(f"{where}: refused: {cause(error)}") from None
    except Exception as error:  # bytes that are not a pickle can raise almost anything
        raise InputError(f"{where}: not a complete pickle ({cause(error)})") from None


class _Arrays(Program):
    """Pickles of numpy arrays."""

    calls = CALLS

    def built(self, target: Any, state: Any) -> Any:
        if isinstance(target, Type) and isinstance(state, tuple):
            target.order = order_of(state)
            return target
        if isinstance(target, UnfilledArray) and isinstance(state, tuple):
            _, shape, kind, fortran, content = state
            return array(content, kind, shape, "F" if fortran else "C")
        return super().built(target, state)

    def cost(self, value: Any) -> int:
        own = value.nbytes if isinstance(value, np.ndarray | np.generic) else 0
        return own + super().cost(value)
