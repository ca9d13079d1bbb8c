"""The images of an episode in coordinates of their own span, where these are fewer than the features."""

import torch
from jaxtyping import Float
from torch import Tensor

from fewshot.graph.vectors import EPSILON, Linear


def shrink(
    support: Float[Tensor, "B N K D"], query: Float[Tensor, "B M D"]
) -> tuple[Float[Tensor, "B N K d"], Float[Tensor, "B M d"], Linear]:
    r"""The images of each episode in coordinates of their own span, where these are fewer than the features.

    What depends on inner products alone stays as it is when all is rotated. The rows of Cholesky's factor
    have the images' inner products, in d = N K + M coordinates:

    .. math:: X X^\top = L L^\top

    Off the processor, in half precision, where a gradient is wanted or sizes are traced, or where the images
    are many compared with the features, nothing changes.

    Args:
        support: vectors of length 1, or zeros, **[B, N, K, D]**.
        query: likewise **[B, M, D]**.

    Returns:
        Both in coordinates, and what takes sums of them **[B, *, d]** back to features **[B, *, D]**.

    >>> from fewshot.graph.vectors import normalize
    >>> support, query = normalize(torch.randn(1, 2, 1, 64)), normalize(torch.randn(1, 3, 64))
    >>> a, b, back = shrink(support, query)
    >>> b.shape, torch.allclose(back(b), query, atol=1e-5)
    (torch.Size([1, 3, 5]), True)
    """
    (_, n, k, d), images = support.shape, support.shape[1] * support.shape[2] + query.shape[1]
    wanted = support.requires_grad or query.requires_grad
    here = support.device.type == "cpu" and support.dtype in (torch.float32, torch.float64)
    if not here or torch.compiler.is_compiling() or wanted or 2 * images > d:
        return support, query, lambda x: x
    x = torch.cat([support.flatten(1, 2), query], dim=1)
    gram = x @ x.transpose(1, 2)
    there = gram.diagonal(dim1=1, dim2=2) > 0.5
    # More than rounding takes away if images are alike.
    gram.diagonal(dim1=1, dim2=2).add_(16 * torch.finfo(x.dtype).eps)
    factor, failed = torch.linalg.cholesky_ex(gram, upper=True)  # which lies in memory as L does row by row
    if failed.any():
        return support, query, lambda x: x

    def back(sums: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(factor, sums.transpose(1, 2), upper=True).transpose(1, 2) @ x

    rows = factor.transpose(1, 2) * there[..., None]  # zeros stay zeros
    return rows[:, : n * k].unflatten(1, (n, k)), rows[:, n * k :], back


def shrink_with(
    support: Float[Tensor, "B N K D"], query: Float[Tensor, "B M D"], more: Float[Tensor, "B N D"] | None
) -> tuple[Float[Tensor, "B N K d"], Float[Tensor, "B M d"], Float[Tensor, "B N d"] | None, Linear]:
    """`shrink` with further vectors of any length, one per class, in the same coordinates.

    With one support per class nothing changes, as its labels are not judged round after round.
    """
    if not torch.compiler.is_compiling() and support.shape[2] == 1:  # K may vary in what is traced
        return support, query, more, lambda x: x
    if more is None:
        support, query, back = shrink(support, query)
        return support, query, None, back
    m, length = query.shape[1], more.norm(dim=-1, keepdim=True)
    support, rows, back = shrink(support, torch.cat([query, more / length.clamp_min(EPSILON)], dim=1))
    return support, rows[:, :m], rows[:, m:] * length, back
