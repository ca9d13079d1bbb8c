"""Checks of what a class graph is given, which may be anything."""

from collections.abc import Mapping
from inspect import signature
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from fewshot.core.errors import InputError


def check_episodes(
    support: Any,
    query: Any,
    support_mask: Any,
    class_mask: Any,
    query_mask: Any,
    evidence: Any,
    proportions: Any,
    prior: Any,
    neighbours: Any,
) -> None:
    """Raise a ValueError that names the argument, what was expected and what came."""
    given = {"support": support, "query": query, "support_mask": support_mask, "class_mask": class_mask}
    given |= {"query_mask": query_mask, "evidence": evidence, "proportions": proportions, "prior": prior}
    _check_tensors(given, support)
    if support.dim() != 4 or not support.is_floating_point():
        raise ValueError(f"support: expected floats [B, N, K, D], got {_kind(support)}")
    b, n, k, d = support.shape
    if 0 in (n, k, d):
        raise ValueError(f"support: expected at least one class, shot and feature, got {_kind(support)}")
    if query.dim() != 3 or not query.is_floating_point() or (query.shape[0], query.shape[2]) != (b, d):
        raise ValueError(f"query: expected floats [B, M, D] with B = {b} and D = {d}, got {_kind(query)}")
    m = query.shape[1]
    for name, mask, shape in (
        ("support_mask", support_mask, (b, n, k)),
        ("class_mask", class_mask, (b, n)),
        ("query_mask", query_mask, (b, m)),
    ):
        if mask is not None and (mask.dtype != torch.bool or tuple(mask.shape) != shape):
            raise ValueError(f"{name}: expected bool {list(shape)}, got {_kind(mask)}")
    for name, known in (("evidence", evidence), ("proportions", proportions)):
        if known is not None and (not known.is_floating_point() or tuple(known.shape) != (b, n)):
            raise ValueError(f"{name}: expected floats {[b, n]}, got {_kind(known)}")
    _check_finite("support", support, support_mask, class_mask)
    _check_finite("query", query, query_mask)
    if proportions is not None and not _are_shares(proportions):
        raise ValueError("proportions: expected shares from 0 up and not all 0, got others or nan")
    if prior is not None and tuple(prior.shape) not in ((n, n), (b, n, n)):
        raise ValueError(f"prior: expected {[n, n]} or {[b, n, n]}, got {_kind(prior)}")
    if prior is not None and not _holds(prior.isfinite().all()):
        raise ValueError("prior: expected finite numbers, got nan or infinity")
    _check_neighbours(neighbours, b, n)


def _check_neighbours(neighbours: Any, b: int, n: int) -> None:
    if isinstance(neighbours, Tensor):
        if neighbours.dtype != torch.int64 or neighbours.dim() != 3 or tuple(neighbours.shape[:2]) != (b, n):
            raise ValueError(
                f"neighbours: expected int64 [B, N, k] with B = {b} and N = {n}, got {_kind(neighbours)}"
            )
        if not _are_others(neighbours):
            raise ValueError(f"neighbours: expected other classes from 0 to {n - 1}, or -1 for none")
    elif neighbours is not None and not (type(neighbours) is int and neighbours >= 1):
        raise ValueError(f"neighbours: expected at least 1, or None for all classes, got {neighbours!r:.60}")


def check_known(
    support: Any,
    known: Any,
    relations: Any,
    known_relations: Any,
    belief: Any,
) -> None:
    """Raise a ValueError that names the argument, what was expected and what came."""
    if (known is None) != (relations is None):
        one, other = ("relations", "known") if relations is None else ("known", "relations")
        raise ValueError(f"{one}: expected together with {other}, got None")
    given = {"known": known, "relations": relations, "known_relations": known_relations}
    _check_tensors(given, support)
    if belief is not None and not (isinstance(belief, int | float) and 0 <= belief <= 1):
        raise ValueError(f"belief: expected a number from 0 to 1, or None to judge it, got {belief!r}")
    if known is None or relations is None:
        if known_relations is not None:
            raise ValueError(
                "known_relations: expected together with known and relations, got no known classes"
            )
        return
    b, n, _, d = support.shape
    if known.dim() != 2 or not known.is_floating_point() or known.shape[1] != d or known.shape[0] == 0:
        raise ValueError(f"known: expected floats [C, D] with D = {d}, got {_kind(known)}")
    c = known.shape[0]
    shape = (b, n, c) if relations.dim() == 3 else (n, c)  # compared with one alone, else tracing ties B to N
    if not relations.is_floating_point() or tuple(relations.shape) != shape:
        raise ValueError(f"relations: expected floats {[n, c]} or {[b, n, c]}, got {_kind(relations)}")
    if known_relations is not None:
        if not known_relations.is_floating_point() or tuple(known_relations.shape) != (c, c):
            raise ValueError(f"known_relations: expected floats {[c, c]}, got {_kind(known_relations)}")
        _check_finite("known_relations", known_relations)
    _check_finite("known", known)
    _check_rows("relations", relations)


def check_graph(graph: Any) -> None:
    """Raise an InputError unless the call of a class graph takes support and query.

    >>> check_graph(torch.nn.Linear(2, 2))
    Traceback (most recent call last):
    ...
    fewshot.InputError: graph: expected a module whose call takes support and query, got Linear
    """
    try:
        signature(getattr(graph, "forward", graph)).bind_partial(None, None)
    except TypeError:
        kind = type(graph).__name__
        raise InputError(f"graph: expected a module whose call takes support and query, got {kind}") from None
    except ValueError:  # a call whose arguments cannot be seen
        return


def check_there(support_mask: Tensor | None, class_mask: Tensor | None, evidence: Tensor | None) -> None:
    """Raise a ValueError if an episode has no class with supports that may be there."""
    for name, given in (
        ("support_mask", None if support_mask is None else support_mask.any(-1)),
        ("class_mask", class_mask),
        ("evidence", None if evidence is None else evidence != 0),
    ):
        if given is not None and not _holds(given.any(-1).all()):
            raise ValueError(f"{name}: expected a class that may be there in each episode, got one without")


def finite_queries(query: Tensor, query_mask: Tensor | None) -> Tensor | None:
    """The mask without queries that are not finite, found without waiting for a GPU.

    >>> finite_queries(torch.tensor([[[1.0, 2.0], [torch.nan, 0.0]]]), None)
    tensor([[ True, False]])
    """
    finite = query.isfinite().all(-1)
    return finite if query_mask is None else finite & query_mask


def _check_tensors(given: Mapping[str, Any], support: Any) -> None:
    """That arguments are dense tensors on one device; None is no argument."""
    for name, x in given.items():
        if x is not None and not isinstance(x, Tensor):
            raise ValueError(f"{name}: expected a tensor, got {type(x).__name__}")
        if x is not None and x.device.type == "meta":
            raise ValueError(f"{name}: expected a tensor with numbers, got one on the device meta")
        if x is not None and (x.layout != torch.strided or x.device != support.device):
            kind = f"{str(x.layout).removeprefix('torch.')} on {x.device}"
            raise ValueError(f"{name}: expected a dense tensor on one device with support, got {kind}")
    if support is None or given.get("query", support) is None:
        raise ValueError("support, query: expected tensors, got None")


def _check_finite(name: str, x: Tensor, *masks: Tensor | None) -> None:
    """That there is no nan and no infinity outside padding."""
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return
    # A sum is finite if all numbers are, unless they are very large: one pass without a copy.
    if bool(x.detach().sum().isfinite()):
        return
    finite = x.isfinite().all(-1)
    for mask in masks:
        if mask is not None:
            finite = finite | ~(mask if mask.dim() == finite.dim() else mask[..., None])
    if not bool(finite.all()):
        raise ValueError(f"{name}: expected finite numbers, got nan or infinity")


def _check_rows(name: str, x: Tensor) -> None:
    """That each row is of finite numbers, or of nan alone."""
    if x.device.type != "cpu" or torch.compiler.is_compiling() or bool(x.detach().sum().isfinite()):
        return
    if bool(x.isinf().any()):
        raise ValueError(f"{name}: expected numbers, or rows of nan, got infinity")
    if not bool((x.isnan().all(-1) | ~x.isnan().any(-1)).all()):
        raise ValueError(f"{name}: expected a row of numbers, or of nan alone, got a row with some nan")


def _holds(what: Tensor) -> bool:
    """Whether it is so, as far as that can be seen: not on a GPU, where one would wait, nor while traced."""
    return what.device.type != "cpu" or torch.compiler.is_compiling() or bool(what)


def _are_shares(proportions: Tensor) -> bool:
    """False where that can be seen: not on a GPU, where one would wait for it, nor while being traced."""
    if proportions.device.type != "cpu" or torch.compiler.is_compiling():
        return True
    known = proportions.isfinite().all() and (proportions >= 0).all()
    return bool(known and (proportions > 0).any(-1).all())


def _are_others(neighbours: Int64[Tensor, "B N k"]) -> bool:
    """False where a class is its own neighbour, or there is no such class; as far as that can be seen."""
    if neighbours.device.type != "cpu" or torch.compiler.is_compiling():
        return True
    n = neighbours.shape[1]
    itself = torch.arange(n)[:, None]
    return bool(((neighbours >= -1) & (neighbours < n) & (neighbours != itself)).all())


def _kind(x: Tensor) -> str:
    return f"{str(x.dtype).removeprefix('torch.')} {list(x.shape)}"
