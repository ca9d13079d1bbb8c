"""Checks of what the message-passing layer is given."""

from typing import Any

import torch
from torch import Tensor


def check_nodes(x: Any, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """The nodes that are listened to, and those that listen; raises a ValueError that names what is wrong.

    Args:
        x: floats **[n, D]**, or with weights a pair of such.
        weight: of the edges; None if it is to be computed.
    """
    if isinstance(x, tuple) and weight is None:
        raise ValueError("x: expected one tensor [n, D] without given weights, got a pair")
    source, target = x if isinstance(x, tuple) else (x, x)
    if not isinstance(source, Tensor) or source.dim() != 2 or not source.is_floating_point():
        raise ValueError(f"x: expected floats [n, D], got {_kind(source)}")
    return source, target


def check_edges(edge_index: Any, sources: int, targets: int) -> None:
    """Raise a ValueError unless it is int64 **[2, E]** of nodes that exist, as far as that can be seen."""
    if not isinstance(edge_index, Tensor) or edge_index.dtype != torch.int64:
        raise ValueError(f"edge_index: expected int64 [2, E], got {_kind(edge_index)}")
    if edge_index.dim() != 2 or edge_index.shape[0] != 2:
        raise ValueError(f"edge_index: expected int64 [2, E], got {_kind(edge_index)}")
    if edge_index.device.type != "cpu" or torch.compiler.is_compiling() or not edge_index.shape[1]:
        return
    for name, row, count in (("sources", edge_index[0], sources), ("targets", edge_index[1], targets)):
        low, high = int(row.min()), int(row.max())
        if low < 0 or high >= count:
            raise ValueError(f"edge_index: expected {name} from 0 to {count - 1}, got {low} to {high}")


def one_each(name: str, values: Any, count: int, what: str) -> Tensor | None:
    """Numbers **[count]** or **[count, 1]** as **[count]**; others are refused, never broadcast.

    Args:
        name: of the argument, for errors.
        values: what came; None stays None.
        count: how many are expected.
        what: there is one of per number.

    Raises:
        ValueError: another shape, or no floats.

    >>> one_each("weight", torch.ones(3, 1), 3, "edge").shape
    torch.Size([3])
    >>> one_each("weight", torch.ones(1), 3, "edge")
    Traceback (most recent call last):
    ...
    ValueError: weight: expected floats [3] or [3, 1], one per edge, got float32 [1]
    """
    if values is None:
        return None
    fits = isinstance(values, Tensor) and values.is_floating_point()
    if not fits or tuple(values.shape) not in ((count,), (count, 1)):
        raise ValueError(
            f"{name}: expected floats [{count}] or [{count}, 1], one per {what}, got {_kind(values)}"
        )
    return values.reshape(count)


def _kind(x: Any) -> str:
    if not isinstance(x, Tensor):
        return type(x).__name__
    return f"{str(x.dtype).removeprefix('torch.')} {list(x.shape)}"
