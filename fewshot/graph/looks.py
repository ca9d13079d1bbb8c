"""What an episode looks like: numbers by which sharpness, coupling and temperature are chosen."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fewshot.graph.trust import Supports
from fewshot.graph.vectors import EPSILON

USUAL = 0.15  # root mean square cosine of supports of different classes, in episodes of photographs
TIGHT = 0.2  # mean cosine of supports of a class, likewise


class Looks(NamedTuple):
    """Numbers of B episodes, each **[B, 1]**; logarithms are 0 for an ordinary 5-way 1-shot episode."""

    way: Float[Tensor, "B 1"]  # classes that may occur
    log_way: Float[Tensor, "B 1"]  # log(way / 5)
    log_shot: Float[Tensor, "B 1"]  # of the average supports per class
    log_spread: Float[Tensor, "B 1"]  # of `between_classes`, 4 usual pairs added
    log_wide: Float[Tensor, "B 1"]  # the same with 1.5 pairs added, if above 0
    log_narrow: Float[Tensor, "B 1"]  # and if below 0
    log_tight: Float[Tensor, "B 1"]  # of the mean cosine of supports of a class; 0 for one shot
    heard: Float[Tensor, "B 1"]  # share of known classes in the class sums; 0 without relations


def between_classes(
    support: Float[Tensor, "B N K D"], mask: Bool[Tensor, "B N K"]
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    r"""Sum of the squared cosines between supports of different classes, and the number of such pairs.

    .. math:: \tfrac 12 \big(\lVert X X^\top \rVert_F^2 - \textstyle\sum_i \lVert X_i X_i^\top \rVert_F^2\big)

    with :math:`\lVert X X^\top \rVert_F = \lVert X^\top X \rVert_F`, so that many supports build no square
    matrix.

    Args:
        support: vectors of length 1, or zeros, **[B, N, K, D]**.
        mask: bool **[B, N, K]**, False for padding.

    >>> squares, pairs = between_classes(torch.eye(2)[[0, 0, 1]].view(1, 3, 1, 2), torch.ones(1, 3, 1).bool())
    >>> squares, pairs
    (tensor([1.]), tensor([3.]))
    """
    _, n, k, d = support.shape
    flat = support.flatten(1, 2)
    if not torch.compiler.is_compiling() and n * k <= d:
        place = torch.arange(n * k, device=flat.device) // k
        cosines = (flat @ flat.transpose(1, 2)) * (place[:, None] != place)
        squares = cosines.square().sum((1, 2)) / 2
    else:
        within = (support @ support.transpose(2, 3)).square().sum((1, 2, 3))
        squares = ((flat.transpose(1, 2) @ flat).square().sum((1, 2)) - within).clamp_min(0) / 2
    shots = mask.sum(-1).to(support.dtype)
    pairs = (shots.sum(-1).square() - shots.square().sum(-1)) / 2
    return squares, pairs


def heard(supports: Supports, alive: Bool[Tensor, "B N"]) -> Float[Tensor, "B 1"]:
    """Length of the known classes' message, as a share of it and the supports together; mean over classes."""
    if supports.message is None:
        return torch.zeros_like(alive[:, :1], dtype=supports.vectors.dtype)
    message, own = supports.message.norm(dim=-1), supports.vectors.sum(2).norm(dim=-1)
    share = message / (message + own).clamp_min(EPSILON) * alive
    return share.sum(-1, keepdim=True) / alive.sum(-1, keepdim=True).clamp_min(1)


def look(supports: Supports, tight: Float[Tensor, "B N"], alive: Bool[Tensor, "B N"]) -> Looks:
    """The numbers of the episodes, from supports, tightness of classes and the classes that may occur."""
    mask, kind = supports.mask, supports.vectors.dtype
    way = alive.sum(-1, keepdim=True).clamp_min(1).to(kind)
    shot = mask.sum((1, 2))[:, None] / mask.any(-1).sum(-1, keepdim=True).clamp_min(1)
    shot = shot.clamp_min(1).to(kind)
    squares, pairs = between_classes(supports.vectors, mask)

    def spread(usual: float) -> Float[Tensor, "B 1"]:
        return (((squares + usual * USUAL**2) / (pairs + usual)).sqrt() / USUAL).log()[:, None]

    rough = spread(1.5)
    average = (tight.mean(1, keepdim=True).clamp_min(0.02) / TIGHT).log()
    return Looks(
        way=way,
        log_way=(way / 5).log(),
        log_shot=shot.log(),
        log_spread=spread(4.0),
        log_wide=rough.clamp_min(0),
        log_narrow=rough.clamp_max(0),
        log_tight=torch.where(shot > 1, average, 0.0),
        heard=heard(supports, alive),
    )
