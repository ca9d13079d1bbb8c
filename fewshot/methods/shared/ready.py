"""What the joint methods share: their call, supports in one row with one-hot labels, graphs of neighbours."""

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, signature
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.graph.checks import check_episodes
from fewshot.graph.vectors import normalize


class Ready(NamedTuple):
    """Episodes with their supports in one row, S = N·K; whatever is padding is zero.

    ``support`` **[B, S, D]**, ``query`` **[B, M, D]**: unit vectors; ``labels`` **[B, S, N]**: one-hot;
    ``labelled`` **[B, S, 1]**, ``seen`` **[B, M, 1]**: 1 for a support or a query, 0 for padding; ``classes``
    bool **[B, N]**: those with a support; ``shares`` **[B, N]**: of the queries, equal if none were given.
    """

    support: Float[Tensor, "B S D"]
    labels: Float[Tensor, "B S N"]
    labelled: Float[Tensor, "B S 1"]
    query: Float[Tensor, "B M D"]
    seen: Float[Tensor, "B M 1"]
    classes: Bool[Tensor, "B N"]
    shares: Float[Tensor, "B N"]


def make_ready(
    support: Tensor,
    query: Tensor,
    support_mask: Tensor | None = None,
    class_mask: Tensor | None = None,
    query_mask: Tensor | None = None,
    proportions: Tensor | None = None,
) -> Ready:
    """Check the tensors of episodes, normalise the features and clear the padding, nan included.

    Args:
        support, query: features **[B, N, K, D]** and **[B, M, D]**.
        support_mask, class_mask, query_mask: bool **[B, N, K]**, **[B, N]**, **[B, M]**, False for padding;
            None (default): nothing is padding. A class without supports is padding.
        proportions: the classes' shares of the query set **[B, N]**; None (default): equal.

    Raises:
        InputError: shapes or types that do not fit.

    >>> ready = make_ready(torch.tensor([[[[3.0, 4.0]], [[0.0, 2.0]]]]), torch.ones(1, 3, 2))
    >>> ready.support, ready.labels, ready.shares
    (tensor([[[0.6000, 0.8000],
             [0.0000, 1.0000]]]), tensor([[[1., 0.],
             [0., 1.]]]), tensor([[0.5000, 0.5000]]))
    """
    try:
        check_episodes(support, query, support_mask, class_mask, query_mask, None, proportions, None, None)
    except ValueError as error:
        raise InputError(str(error)) from None
    kind = torch.promote_types(support.dtype, torch.float32)  # half precision would be too coarse
    support, query = support.to(kind), query.to(kind)
    b, n, k, _ = support.shape
    there = support.new_ones((b, n, k), dtype=torch.bool) if support_mask is None else support_mask
    if class_mask is not None:
        there = there & class_mask[..., None]
    seen = query.new_ones(query.shape[:2], dtype=torch.bool) if query_mask is None else query_mask
    classes = there.any(-1)
    shares = classes.to(kind) if proportions is None else proportions.to(kind).where(classes, 0.0)
    one_hot = torch.eye(n, dtype=kind, device=support.device)
    return Ready(
        support=normalize(support.masked_fill(~there[..., None], 0.0)).flatten(1, 2),
        labels=(one_hot[:, None] * there[..., None]).flatten(1, 2),
        labelled=there.flatten(1)[..., None].to(kind),
        query=normalize(query.masked_fill(~seen[..., None], 0.0)),
        seen=seen[..., None].to(kind),
        classes=classes,
        shares=shares / shares.sum(-1, keepdim=True).clamp_min(torch.finfo(kind).tiny),
    )


def joint_method(method: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Give a method of `Ready` episodes the call that all methods have (`FewShotCall`).

    Args:
        method: from a `Ready` and options of its own, which are keyword-only, to logits **[B, M, N]**.

    Returns:
        The method as a function of ``support, query``, masks, proportions and its own options; what else a
        `FewShotCall` may be given changes nothing.

    >>> @joint_method
    ... def nearest(ready: Ready, *, scale: float = 1.0) -> Tensor:
    ...     return scale * ready.query @ mean(ready.support, ready.labels).mT
    >>> support = torch.tensor([[[[2.0, 0.0]], [[0.0, 1.0]]]])
    >>> nearest(support, torch.tensor([[[3.0, 4.0]]]), joint=True, scale=10.0)
    tensor([[[6., 8.]]])
    """
    own = [p for p in signature(method).parameters.values() if p.kind is Parameter.KEYWORD_ONLY]

    def call(
        support: Float[Tensor, "B N K D"],
        query: Float[Tensor, "B M D"],
        *,
        support_mask: Bool[Tensor, "B N K"] | None = None,
        class_mask: Bool[Tensor, "B N"] | None = None,
        query_mask: Bool[Tensor, "B M"] | None = None,
        proportions: Float[Tensor, "B N"] | None = None,
        **options: Any,
    ) -> Float[Tensor, "B M N"]:
        ready = make_ready(support, query, support_mask, class_mask, query_mask, proportions)
        return method(ready, **{p.name: options[p.name] for p in own if p.name in options})

    *common, further = signature(call).parameters.values()
    full = signature(call).replace(parameters=[*common, *own, further])
    wrapped = wraps(method)(call)
    wrapped.__dict__["__signature__"] = full  # not the method's, which `wraps` would have shown
    return wrapped


def mean(x: Float[Tensor, "B n D"], weights: Float[Tensor, "B n m"]) -> Float[Tensor, "B m D"]:
    """Weighted means of the rows of ``x``, one per column of weights; zero if these are all zero.

    >>> mean(torch.tensor([[[1.0], [5.0]]]), torch.tensor([[[1.0, 3.0, 0.0], [1.0, 1.0, 0.0]]]))
    tensor([[[3.],
             [2.],
             [0.]]])
    """
    return weights.mT @ x / weights.sum(1)[..., None].clamp_min(torch.finfo(x.dtype).tiny)


def squared_distances(x: Float[Tensor, "B n D"], y: Float[Tensor, "B m D"]) -> Float[Tensor, "B n m"]:
    """Squared Euclidean distances, from matrix products.

    >>> squared_distances(torch.tensor([[[0.0, 0.0]]]), torch.tensor([[[3.0, 4.0], [0.0, 1.0]]]))
    tensor([[[25.,  1.]]])
    """
    squares = x.square().sum(-1)[..., None] + y.square().sum(-1)[:, None]
    return (squares - 2 * x @ y.mT).clamp_min(0.0)  # rounding could make them negative


def neighbour_graph(
    distances: Float[Tensor, "B n n"], there: Float[Tensor, "B n 1"], k: int
) -> Float[Tensor, "B n n"]:
    """1 where column j is one of the k nearest others of row i, else 0; fewer if fewer are there.

    >>> x = torch.tensor([[[0.0], [1.0], [3.0]]])
    >>> neighbour_graph(squared_distances(x, x), torch.ones(1, 3, 1), k=1)
    tensor([[[0., 1., 0.],
             [1., 0., 0.],
             [0., 1., 0.]]])
    """
    n = distances.shape[1]
    others = (there * there.mT > 0) & ~torch.eye(n, dtype=torch.bool, device=there.device)
    nearest = distances.masked_fill(~others, torch.inf).topk(min(k, n - 1), largest=False)
    real = (nearest.values < torch.inf).to(distances.dtype)
    return torch.zeros_like(distances).scatter(-1, nearest.indices, real)
