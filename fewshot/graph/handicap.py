"""Handicaps of classes that attract too many queries."""

import torch
from jaxtyping import Float
from torch import Tensor


def pairwise_cosine(
    support: Float[Tensor, "B N K D"], weight: Float[Tensor, "B N K"]
) -> Float[Tensor, "B N"]:
    r"""Mean cosine between two supports of a class, weighted: how tight the class is.

    .. math:: c_i = \frac{\lVert \sum_k w_{ik} \hat s_{ik} \rVert^2 - \sum_k w_{ik}^2}
                         {(\sum_k w_{ik})^2 - \sum_k w_{ik}^2}

    Unlike the length of the mean it does not depend on how many supports there are. Classes with a single
    support get the mean of the others (0 where there are none).

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
