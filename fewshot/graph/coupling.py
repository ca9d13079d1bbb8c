"""Coupling of the classes through their shares of the queries."""

from jaxtyping import Float
from torch import Tensor


def coupling(
    mass: Float[Tensor, "B N"],
    expected: Float[Tensor, "B N"],
    floor: Float[Tensor, ""],
) -> Float[Tensor, "B N"]:
    r"""How far each class's soft mass of queries exceeds the expected one, in logits, damped for few queries.

    .. math:: \log \frac{n_c + \epsilon}{e_c + \epsilon}

    Taking it off a class's logits moves its mass towards ``expected``; repeated with full strength this is
    Sinkhorn's algorithm (Cuturi 2013).

    >>> coupling(torch.tensor([[3.0, 1.0]]), torch.tensor([[2.0, 2.0]]), torch.tensor(0.0))
    tensor([[ 0.4055, -0.6931]])
    """
    return ((mass + floor) / (expected + floor)).clamp_min(1e-6).log()
