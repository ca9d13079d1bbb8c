"""Checks of what a class graph is given."""

import torch
from jaxtyping import Int64
from torch import Tensor


def check_episodes(
    support: Tensor,
    query: Tensor,
    support_mask: Tensor | None,
    class_mask: Tensor | None,
    query_mask: Tensor | None,
    evidence: Tensor | None,
    proportions: Tensor | None,
    prior: Tensor | None,
    neighbours: int | Tensor | None,
) -> None:
    """Raise a ValueError that names the argument, what was expected and what came."""
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
    if proportions is not None and not _are_shares(proportions):
        raise ValueError("proportions: expected shares from 0 up and not all 0, got others or nan")
    if prior is not None and tuple(prior.shape) not in ((n, n), (b, n, n)):
        raise ValueError(f"prior: expected {[n, n]} or {[b, n, n]}, got {_kind(prior)}")
    if isinstance(neighbours, Tensor):
        if neighbours.dtype != torch.int64 or neighbours.dim() != 3 or tuple(neighbours.shape[:2]) != (b, n):
            raise ValueError(
                f"neighbours: expected int64 [B, N, k] with B = {b} and N = {n}, got {_kind(neighbours)}"
            )
        if not _are_others(neighbours):
            raise ValueError(f"neighbours: expected other classes from 0 to {n - 1}, or -1 for none")
    elif neighbours is not None and neighbours < 1:
        raise ValueError(f"neighbours: expected at least 1, or None for all classes, got {neighbours}")


def check_known(
    support: Tensor,
    known: Tensor | None,
    relations: Tensor | None,
    known_relations: Tensor | None,
    belief: float | None,
) -> None:
    """Raise a ValueError that names the argument, what was expected and what came."""
    if (known is None) != (relations is None):
        one, other = ("relations", "known") if relations is None else ("known", "relations")
        raise ValueError(f"{one}: expected together with {other}, got None")
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
        if not _holds(known_relations.isfinite().all()):
            raise ValueError("known_relations: expected finite numbers, got nan or infinity")
    if not _holds(known.isfinite().all()):
        raise ValueError("known: expected finite numbers, got nan or infinity")
    if not _holds(~relations.isinf().any()):
        raise ValueError("relations: expected numbers, or rows of nan, got infinity")
    if not _holds((relations.isnan().all(-1) | ~relations.isnan().any(-1)).all()):
        raise ValueError("relations: expected a row of numbers, or of nan alone, got a row with some nan")


def _holds(what: Tensor) -> bool:
    """Whether it is so, as far as that can be seen: not on a GPU, where one would wait, nor while traced."""
    return what.device.type != "cpu" or torch.compiler.is_compiling() or bool(what)


def _are_shares(proportions: Tensor) -> bool:
    """False where that can be seen: not on a GPU, where one would wait for it, nor while being traced."""
    if proportions.device.type != "cpu" or torch.compiler.is_compiling():
        return True
    return bool((proportions >= 0).all() and (proportions > 0).any(-1).all())


def _are_others(neighbours: Int64[Tensor, "B N k"]) -> bool:
    """False where a class is its own neighbour, or there is no such class; as far as that can be seen."""
    if neighbours.device.type != "cpu" or torch.compiler.is_compiling():
        return True
    n = neighbours.shape[1]
    itself = torch.arange(n)[:, None]
    return bool(((neighbours >= -1) & (neighbours < n) & (neighbours != itself)).all())


def _kind(x: Tensor) -> str:
    return f"{str(x.dtype).removeprefix('torch.')} {list(x.shape)}"
