"""Vectors of the graph: lengths, masked softmax, weighted sums.

Letters: B episodes, N way, K shot, M queries, D feature size; C candidate classes of a support (all N, or
its own class and its k neighbours).
"""

from collections.abc import Callable, Iterable
from itertools import chain

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import embedding_bag

Linear = Callable[[Tensor], Tensor]


EPSILON = 1e-12


FEW = 16  # numbers in a row


PIECE = 2**20  # numbers that work on many classes holds at a time, instead of all


def normalize(x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
    """Scale vectors to length 1; vectors of zeros stay zeros.

    >>> normalize(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    return x / x.norm(dim=-1, keepdim=True).clamp_min(EPSILON)


def products(
    many: Float[Tensor, "*batch M D"], few: Float[Tensor, "*batch N D"]
) -> Float[Tensor, "*batch M N"]:
    """Inner products of many vectors with few.

    Computed as those of the few with the many: the numbers of a column are then side by side in memory, and
    most batches of small products are faster.

    >>> products(torch.eye(2), torch.tensor([[3.0, 4.0]])).tolist()
    [[3.0], [4.0]]
    """
    if torch.compiler.is_compiling() or few.shape[-2] > FEW:
        return many @ few.transpose(-1, -2)
    return (few @ many.transpose(-1, -2)).transpose(-1, -2)


def masked_softmax(
    scores: Float[Tensor, "*batch n"], mask: Bool[Tensor, "*#batch n"]
) -> Float[Tensor, "*batch n"]:
    """Softmax over the last dimension where ``mask`` is True; 0 elsewhere, and in rows without any True.

    >>> masked_softmax(torch.zeros(2, 3), torch.tensor([[True, True, False], [False, False, False]]))
    tensor([[0.5000, 0.5000, 0.0000],
            [0.0000, 0.0000, 0.0000]])
    """
    # Added, since a mask is mostly smaller than the scores, and their order in memory stays.
    return softmax(scores + barred(torch.zeros_like(mask, dtype=scores.dtype), mask)) * mask


def barred(scores: Float[Tensor, "*batch n"], mask: Bool[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
    """The scores, with one that rules out where ``mask`` is False, also if others are added to it.

    >>> barred(torch.ones(2), torch.tensor([True, False])).exp()
    tensor([2.7183, 0.0000])
    """
    return scores.masked_fill(~mask, torch.finfo(scores.dtype).min / 2)


def softmax(scores: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
    """Softmax over the last dimension, by another one if these are few numbers, over which torch is slow.

    The numbers of a column are then side by side in memory.

    >>> softmax(torch.zeros(2, 2))
    tensor([[0.5000, 0.5000],
            [0.5000, 0.5000]])
    """
    if scores.dim() > 1 and not torch.compiler.is_compiling() and scores.shape[-1] <= FEW:
        return scores.transpose(-1, -2).contiguous().softmax(-2).transpose(-1, -2)
    return scores.softmax(-1)


def weighted_sums(
    x: Float[Tensor, "n D"],
    index: Int64[Tensor, " E"],
    bounds: Int64[Tensor, " targets_and_one"],
    weight: Float[Tensor, " E"],
) -> Float[Tensor, "targets D"]:
    """Weighted sums of rows: of ``x[index[bounds[i] : bounds[i + 1]]]`` for target i. No [E, D] is built.

    >>> index, bounds = torch.tensor([0, 1, 2]), torch.tensor([0, 2, 2, 3])
    >>> weighted_sums(torch.eye(3), index, bounds, torch.tensor([1.0, 2.0, 3.0]))
    tensor([[1., 2., 0.],
            [0., 0., 0.],
            [0., 0., 3.]])
    """
    return embedding_bag(index, x, bounds, mode="sum", per_sample_weights=weight, include_last_offset=True)


def joined(pieces: Iterable[Tensor], size: int) -> Tensor:
    """Pieces along the first dimension, computed one after the other, as one tensor.

    Without a gradient, each is copied to its place at once: small pieces that stay where they were allocated,
    between the large temporaries that they were computed from, leave holes into which the next temporaries do
    not fit, and memory can grow to that of all temporaries together.

    Args:
        pieces: tensors **[piece, ...]**, at least one.
        size: of all of them.

    >>> joined((x + 1 for x in torch.arange(5).split(2)), 5)
    tensor([1, 2, 3, 4, 5])
    """
    pieces = iter(pieces)
    first = next(pieces)
    if first.requires_grad or torch.compiler.is_compiling():
        return torch.cat([first, *pieces])
    found, start = first.new_empty(size, *first.shape[1:]), 0
    for piece in chain([first], pieces):
        found[start : start + len(piece)] = piece
        start += len(piece)
    return found


def class_nodes(index: Int64[Tensor, "B N C"]) -> Int64[Tensor, "BN C"]:
    """Class indices of B episodes as indices of their B·N classes in one row.

    >>> class_nodes(torch.tensor([[[1], [0]], [[1], [0]]])).tolist()
    [[1], [0], [3], [2]]
    """
    b, n, _ = index.shape
    return (index + n * torch.arange(b, device=index.device)[:, None, None]).flatten(0, 1)


def exists(near: Int64[Tensor, "B N k"], mask: Bool[Tensor, "B N"]) -> Bool[Tensor, "B N k"]:
    """Which neighbours exist (-1 is none) and are classes of the mask.

    >>> exists(torch.tensor([[[1], [0], [-1]]]), torch.tensor([[True, False, True]])).flatten()
    tensor([False,  True, False])
    """
    return (near >= 0) & mask.gather(1, near.clamp_min(0).flatten(1)).view_as(near)
