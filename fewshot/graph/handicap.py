"""A handicap for classes that attract too many queries because their supports agree."""

import torch
from jaxtyping import Float
from torch import Tensor

from fewshot.graph.operator import Operator, scalar
from fewshot.graph.trust import Supports, own_class


def pairwise_cosine(
    support: Float[Tensor, "B N K D"], weight: Float[Tensor, "B N K"]
) -> Float[Tensor, "B N"]:
    r"""Weighted mean cosine between two supports of a class: how tight the class is.

    .. math:: c_i = \frac{\lVert \sum_k w_{ik} \hat s_{ik} \rVert^2 - \sum_k w_{ik}^2}
                         {(\sum_k w_{ik})^2 - \sum_k w_{ik}^2}

    Unlike the length of the mean, it does not depend on the number of supports. Classes with a single
    support get the mean of the others (0 if there are none).

    Args:
        support: vectors of length 1, or zeros, **[B, N, K, D]**.
        weight: of each support **[B, N, K]**, 0 if it is padding.

    >>> support = torch.tensor([[[[1.0, 0.0], [0.6, 0.8]], [[0.0, 1.0], [0.0, 1.0]]]])
    >>> pairwise_cosine(support, torch.tensor([[[1.0, 1.0], [1.0, 0.0]]]))
    tensor([[0.6000, 0.6000]])
    """
    squares = (weight**2).sum(-1)
    pairs = weight.sum(-1) ** 2 - squares
    total = torch.einsum("bik,bikd->bid", weight, support)
    several = pairs > 1e-3
    cosine = ((total**2).sum(-1) - squares) / pairs.clamp_min(1e-3) * several
    mean = cosine.sum(-1, keepdim=True) / several.sum(-1, keepdim=True).clamp_min(1)
    return torch.where(several, cosine, mean)


def tightness(supports: Supports) -> Float[Tensor, "B N"]:
    """`pairwise_cosine` of each class's supports, as far as their labels are trusted."""
    if supports.assignments is None:
        return pairwise_cosine(supports.vectors, supports.mask.to(supports.vectors.dtype))
    return pairwise_cosine(supports.vectors, own_class(supports.assignments, supports.candidates))


class Handicap(Operator):
    r"""What is subtracted from a class's cosines, since a tight class's prototype is nearer to everything.

    .. math:: h_i = a \, c_i, \qquad c_i = \text{mean cosine between two supports of class } i

    Args:
        tightness: where :math:`a` starts; default 0.15.

    Shapes: `tightness` of the classes **[B, N]** to **[B, N]**, in cosines.
    """

    def __init__(self, tightness: float = 0.15) -> None:
        super().__init__()
        self.tightness = scalar(tightness)

    def forward(self, tight: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
        return self.tightness * tight
