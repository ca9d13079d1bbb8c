"""Suppression of the directions in which the images of a class differ."""

from jaxtyping import Float
from torch import Tensor

from fewshot.graph.vectors import EPSILON, Linear


def suppress(
    nodes: Float[Tensor, "B N D"], spread: Linear, strength: Float[Tensor, ""], steps: int = 2
) -> Float[Tensor, "B N D"]:
    r"""Turn class vectors away from the directions in which classes spread out, as linear discriminants do.

    .. math:: w_i = (I + \gamma \Sigma)^{-1} x_i

    by a fixed number of steps of conjugate gradients (Hestenes and Stiefel 1952).

    Args:
        nodes: class vectors x **[B, N, D]**.
        spread: the product of such vectors with :math:`\Sigma`, the covariance of images about their class's
            mean: **[B, N, D]** to **[B, N, D]**.
        strength: gamma.
        steps: of conjugate gradients; default 2.

    >>> suppress(torch.ones(1, 1, 2), lambda x: x * torch.tensor([1.0, 0.0]), torch.tensor(3.0))
    tensor([[[0.2500, 1.0000]]])
    """

    def apply(x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        return x + strength * spread(x)

    # From the nodes themselves, which is where no spread leads.
    solution, rest = nodes, nodes - apply(nodes)
    direction, square = rest, (rest**2).sum(-1, keepdim=True)
    for step in range(steps):
        image = apply(direction)
        length = square / (direction * image).sum(-1, keepdim=True).clamp_min(EPSILON)
        solution = solution + length * direction
        if step + 1 < steps:
            rest = rest - length * image
            before, square = square, (rest**2).sum(-1, keepdim=True)
            direction = rest + square / before.clamp_min(EPSILON) * direction
    return solution
