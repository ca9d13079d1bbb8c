"""Edges between the classes of an episode, dense or sparse, and what the classes take on along them."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from fewshot.graph.conv import ClassGraphConv, EdgeIndex
from fewshot.graph.facts import Facts
from fewshot.graph.operator import Operator, scalar
from fewshot.graph.vectors import PIECE, class_nodes, exists, joined, normalize

Messages = Callable[[Tensor], Tensor]  # nodes [B, N, D] to what each hears from the others [B, N, D]


class Edges(NamedTuple):
    """Dependencies as a sparse graph of the B·N classes; class i of episode b is node b·N + i.

    ``edge_index`` int64 **[2, E]**: from the class listened to (row 0) to the one that listens (row 1);
    ``weight`` **[E]**: how much; the weights into a node sum to 1.
    """

    edge_index: Int64[Tensor, "2 E"]
    weight: Float[Tensor, " E"]


@torch.no_grad()
def nearest_classes(
    prototypes: Float[Tensor, "B N D"],
    mask: Bool[Tensor, "B N"],
    k: int,
    prior: Float[Tensor, "B N N"] | None = None,
) -> Int64[Tensor, "B N k"]:
    """Find the k nearest other classes of each class, by cosine plus ``prior``; exact, some rows at a time.

    Args:
        prototypes: unit vectors **[B, N, D]**.
        mask: **[B, N]**, the classes that may be neighbours.
        k: neighbours a class; at most N - 1.
        prior: similarity from outside **[B, N, N]**, added to the cosine; default None.

    Returns:
        Class indices **[B, N, k]**, nearest first; -1 where there were fewer than k.

    >>> nearest_classes(torch.eye(3)[None, [0, 0, 1]], torch.tensor([[True, True, False]]), 2)
    tensor([[[ 1, -1],
             [ 0, -1],
             [ 0,  1]]])
    """
    b, n, _ = prototypes.shape
    columns = torch.arange(n, device=prototypes.device)
    rows = max(1, PIECE // (b * n))

    def nearest(part: Tensor) -> Tensor:
        scores = prototypes[:, part] @ prototypes.transpose(1, 2)  # [B, rows, N]
        if prior is not None:
            scores += prior[:, part]
        scores.masked_fill_((part[:, None] == columns) | ~mask[:, None, :], -torch.inf)
        best = scores.topk(k, dim=-1)
        return best.indices.masked_fill_(best.values == -torch.inf, -1).transpose(0, 1)

    return joined(map(nearest, columns.split(rows)), n).transpose(0, 1).contiguous()


def neighbours_of(
    neighbours: int | Tensor | None,
    support: Float[Tensor, "B N K D"],
    message: Float[Tensor, "B N D"] | None,
    classes: Bool[Tensor, "B N"],
    facts: Facts,
    prior: Float[Tensor, "B N N"] | None,
) -> tuple[Int64[Tensor, "B N k"] | None, Int64[Tensor, "B N k"] | None]:
    """The classes near each class, and those of them that it listens to; None for all.

    Args:
        neighbours: how many, or which ones int64 **[B, N, k]**, or None for all.
        support: supports **[B, N, K, D]**, the cosines of whose sums say which classes are near.
        message: what known classes add to the sums **[B, N, D]**, or None.
        classes: bool **[B, N]**, False for padding.
        facts: of the query set. A class listens to classes that may occur; a wrong label may be of any.
        prior: similarity from outside **[B, N, N]** or None.
    """
    if not isinstance(neighbours, int):
        return neighbours, neighbours
    sums = support.sum(2) if message is None else support.sum(2) + message
    unit, most = normalize(sums), min(neighbours, sums.shape[1] - 1)
    near = nearest_classes(unit, classes, most, prior)
    return near, near if facts.alive is classes else nearest_classes(unit, facts.alive, most, prior)


def connect(
    conv: ClassGraphConv,
    x: Float[Tensor, "B N D"],
    classes: Bool[Tensor, "B N"],
    facts: Facts,
    prior: Float[Tensor, "B N N"] | None,
    near: Int64[Tensor, "B N k"] | None,
) -> tuple[Messages, Tensor | Edges]:
    """`dense_edges`, or `sparse_edges` if there are neighbours to listen to."""
    if near is None:
        return dense_edges(conv, x, classes, facts, prior)
    return sparse_edges(conv, x, classes, facts, prior, near)


def dense_edges(
    conv: ClassGraphConv,
    x: Float[Tensor, "B N D"],
    classes: Bool[Tensor, "B N"],
    facts: Facts,
    prior: Float[Tensor, "B N N"] | None,
) -> tuple[Messages, Float[Tensor, "B N N"]]:
    """The messages along all edges, and the edges' weights: each class listens to all others that may occur.

    Args:
        conv: the layer.
        x: nodes of length 1 **[B, N, D]**, from which the weights follow.
        classes: bool **[B, N]**, False for padding.
        facts: of the query set.
        prior: similarity from outside **[B, N, N]** or None.
    """
    others = ~torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
    mask = classes[:, :, None] & facts.alive[:, None, :] & others
    weight = conv.dense_dependencies(x, mask, prior, facts.present)
    return lambda nodes: weight @ nodes, weight


def sparse_edges(
    conv: ClassGraphConv,
    x: Float[Tensor, "B N D"],
    classes: Bool[Tensor, "B N"],
    facts: Facts,
    prior: Float[Tensor, "B N N"] | None,
    near: Int64[Tensor, "B N k"],
) -> tuple[Messages, Edges]:
    """The same along the edges from the classes ``near`` **[B, N, k]**; -1 is none. No [N, N] is built."""
    b, n, d = x.shape
    real = classes[..., None] & exists(near, facts.alive)
    target = torch.arange(b * n, device=x.device).view(b, n, 1).expand_as(near)
    edge_index = torch.stack([class_nodes(near).view_as(near)[real], target[real]])
    prior_edge = None if prior is None else prior.gather(2, near.clamp_min(0))[real]
    weight = conv.dependencies(x.flatten(0, 1), edge_index, prior_edge, facts.present.flatten())
    along = edge_index
    if len(weight) * d > PIECE:  # too many messages to hold at once
        along = EdgeIndex(edge_index, sparse_size=(b * n, b * n), sort_order="col")
    return lambda nodes: conv(nodes.flatten(0, 1), along, weight).view(b, n, d), Edges(edge_index, weight)


class Refinement(Operator):
    r"""Each class takes on some of what it hears from the others.

    .. math:: \lVert t_i \rVert \Big(x_i + \gamma \textstyle\sum_j A_{ij} x_j\Big), \qquad x_i = \hat t_i

    Args:
        message: where :math:`\gamma` starts; below 0, a class moves away from its neighbours; default 0.05.

    Shapes: class sums t **[B, N, D]** to the same, as long as they were but for the message; normalised they
    are the prototypes.

    >>> refine = Refinement(message=0.75)
    >>> refine(torch.eye(2)[None], lambda nodes: nodes.flip(1)).detach()
    tensor([[[1.0000, 0.7500],
             [0.7500, 1.0000]]])
    """

    def __init__(self, message: float = 0.05) -> None:
        super().__init__()
        self.message = scalar(message)

    def forward(self, sums: Float[Tensor, "B N D"], messages: Messages) -> Float[Tensor, "B N D"]:
        nodes = normalize(sums)
        return sums.norm(dim=-1, keepdim=True) * (nodes + self.message * messages(nodes))
