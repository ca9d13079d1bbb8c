"""Which supports of each class are kept, and their order, independently of the order in which they came."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from inspect import Parameter, signature
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped, UInt64
from scipy.sparse import issparse
from torch import nn

from fewshot.core.errors import InputError
from fewshot.core.untrusted.guard import cause

MANY = 2**28  # numbers of a sparse matrix as an array: 2 GB


def dense(X: Any) -> Any:
    """A sparse matrix, as text pipelines give it, as an array; anything else as it is.

    Raises:
        InputError: it would not fit into memory easily.

    >>> from scipy.sparse import csr_array
    >>> dense(csr_array([[0.0, 2.0]])), dense([[1.0]])
    (array([[0., 2.]]), [[1.0]])
    """
    if not issparse(X):
        return X
    if X.shape[0] * X.shape[1] > MANY:
        raise InputError(
            f"X: expected at most {MANY:,} numbers in a sparse matrix, got {X.shape[0]:,} x {X.shape[1]:,}; "
            "TruncatedSVD(300) or HashingVectorizer(n_features=4096) before the classifier would do"
        )
    return X.toarray()


def content_keys(X: Shaped[np.ndarray, "n ..."]) -> UInt64[np.ndarray, " n"]:
    """A hash of each row's content, which orders rows independently of the order in which they came.

    The lowest keys of a union are the lowest among the lowest of its parts, so supports may also come in
    parts.
    """
    digests = b"".join(blake2b(row.tobytes(), digest_size=8).digest() for row in X)
    return np.frombuffer(digests, np.uint64).copy()


def kept(
    index: Int[np.ndarray, " n"], keys: UInt64[np.ndarray, " n"], shots: int | None
) -> Int[np.ndarray, " kept"]:
    """Rows sorted by class, then by key; at most ``shots`` per class."""
    order = np.lexsort((keys, index))
    return order if shots is None else order[places(index[order]) < shots]


def places(index: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """The position of each row within its class; ``index`` is ascending.

    >>> places(np.array([0, 0, 2, 2, 2])).tolist()
    [0, 1, 0, 1, 2]
    """
    return np.arange(len(index)) - np.searchsorted(index, index)


def check_labels(argument: str, labels: Any) -> None:
    """Raise an InputError if a label is missing: None, NaN, or pandas' NA or NaT.

    >>> check_labels("y", ["heron", None])
    Traceback (most recent call last):
    ...
    fewshot.InputError: y: expected a label for each row, got None in row 1
    """
    if labels is None:  # scikit-learn's own message, or an option that was left out
        return
    if isinstance(labels, list | tuple):  # as an array of text, NaN would become a word
        values = np.empty(len(labels), object)
        values[:] = labels
    else:
        values = np.asarray(labels)
    if values.dtype.kind not in "OmM":  # scikit-learn finds NaN among numbers
        return
    for row, value in enumerate(values.ravel()):
        if _is_missing(value):
            raise InputError(f"{argument}: expected a label for each row, got {value} in row {row}")


def _is_missing(value: Any) -> bool:
    try:
        return value is None or bool(value != value)
    except TypeError:  # of pandas' NA, which is neither equal to itself nor not
        return True
    except Exception:  # of an array
        return False


@contextmanager
def named(arguments: str) -> Iterator[None]:
    """Report what scikit-learn or torch cannot take for an array as an error of these arguments."""
    try:
        yield
    except (TypeError, AttributeError, RuntimeError, ValueError) as error:
        if isinstance(error, ValueError) and "could not convert" not in str(error):  # it names the argument
            raise
        if re.search("argument must be a string.*dict", str(error)):  # what scikit-learn's checks expect
            raise
        raise InputError(f"{arguments}: expected arrays of numbers and labels ({cause(error)})") from error


def device_of(module: nn.Module) -> torch.device:
    """The device of a module's weights; the CPU without any."""
    state = [*module.parameters(), *module.buffers()]
    return state[0].device if state else torch.device("cpu")


def takes(module: nn.Module, option: str) -> bool:
    """Whether a module's call has an option."""
    parameters = signature(module.forward).parameters.values()
    return any(p.name == option or p.kind is Parameter.VAR_KEYWORD for p in parameters)


def padded(
    supports: Float[np.ndarray, "n D"], index: Int[np.ndarray, " n"], classes: int
) -> tuple[Float[np.ndarray, "N K D"], Bool[np.ndarray, "N K"]]:
    """The supports of each class, padded to the most shots, and the mask of actual ones; ``index`` ascends.

    >>> padded(np.ones((2, 1)), np.array([1, 1]), 2)[1]
    array([[False, False],
           [ True,  True]])
    """
    place = places(index)
    mask = np.zeros((classes, place.max() + 1), bool)
    mask[index, place] = True
    found = np.zeros((*mask.shape, supports.shape[1]), supports.dtype)
    found[index, place] = supports
    return found, mask


Keyed = tuple[np.ndarray, np.ndarray]  # the label and the key of each support, [n] and [n]


def differing(one: Keyed, other: Keyed) -> Shaped[np.ndarray, " classes"]:
    """The labels that do not have the same supports in two sets.

    >>> keys = np.array([5, 6, 7], np.uint64)
    >>> differing((np.array(["a", "b", "b"]), keys), (np.array(["a", "b"]), keys[:2])).tolist()
    ['b']
    """
    labels, keys = (np.concatenate(pair) for pair in zip(one, other, strict=True))
    values, index = np.unique(labels, return_inverse=True)
    balance = np.repeat([-1, 1], [len(one[0]), len(other[0])])
    order = np.lexsort((keys, index))
    index, keys, balance = index[order], keys[order], balance[order]
    starts = np.flatnonzero(np.diff(index, prepend=-1) | (np.diff(keys, prepend=keys[:1]) != 0))
    unequal = np.add.reduceat(balance, starts) != 0 if len(starts) else np.zeros(0, bool)
    found: Shaped[np.ndarray, " classes"] = values[np.unique(index[starts[unequal]])]
    return found
