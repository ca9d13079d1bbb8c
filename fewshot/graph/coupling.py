"""Coupling of the classes through their shares of the queries (joint mode)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from fewshot.graph.facts import Facts
from fewshot.graph.operator import Operator, scalar


def coupling(
    mass: Float[Tensor, "B N"],
    expected: Float[Tensor, "B N"],
    floor: Float[Tensor, ""],
) -> Float[Tensor, "B N"]:
    r"""How far each class's soft mass of queries exceeds the expected one, in logits, damped for few queries.

    .. math:: \log \frac{n_c + \epsilon}{e_c + \epsilon}

    Subtracting it from a class's logits moves its mass towards ``expected``; repeated with full strength this
    is Sinkhorn's algorithm (Cuturi 2013).

    Args:
        mass: soft number of queries per class **[B, N]**.
        expected: the number to expect **[B, N]**.
        floor: epsilon, in queries.

    >>> coupling(torch.tensor([[3.0, 1.0]]), torch.tensor([[2.0, 2.0]]), torch.tensor(0.0))
    tensor([[ 0.4055, -0.6931]])
    """
    return ((mass + floor) / (expected + floor)).clamp_min(1e-6).log()


class Coupling(Operator):
    r"""What to subtract from each class's logits, so that the classes' masses move towards the expected ones.

    .. math:: \eta \, \frac{e_i^2}{e_i^2 + f} \, \log \frac{n_i + \epsilon}{e_i + \epsilon}

    with :math:`n` the soft masses and :math:`e` the expected ones. If the shares are known, :math:`\eta` is a
    scalar near 1. If they are not, it depends on how unequal the free masses look, with equal shares
    :math:`\pi`:

    .. math:: \eta = \sigma\big(\theta_0 + \theta_1 \log(N \textstyle\sum_i (n_i / n - \pi_i)^2 + 0.01)\big)

    Shapes: mass and expected **[B, N]**, assigned **[B, M, N]**; strength **[B, 1]**; result **[B, N]**.

    >>> half = torch.full((1, 2), 0.5)
    >>> facts = Facts(torch.ones(1, 2).bool(), torch.zeros(1, 2), half, torch.zeros(1, 2), given=True)
    >>> mass, expected = torch.tensor([[30.0, 10.0]]), torch.tensor([[20.0, 20.0]])
    >>> Coupling()(mass, expected, facts).detach().round(decimals=2)
    tensor([[ 0.4000, -0.6900]])
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_strength = scalar(0.0)  # known shares
        self.log_few = scalar(math.log(0.5))  # expected queries per class, squared, that leave half of it
        self.balance = scalar([-7.5, -2.5])  # unknown shares: by 1 and log inequality
        self.log_floor = scalar(math.log(6.0))  # unknown shares: added to the masses

    def forward(
        self,
        mass: Float[Tensor, "B N"],
        expected: Float[Tensor, "B N"],
        facts: Facts,
        strength: Float[Tensor, "B 1"] | None = None,
    ) -> Float[Tensor, "B N"]:
        """Unknown shares are not coupled before they are judged: until there is a ``strength``."""
        enough = expected**2 / (expected**2 + self.log_few.exp())
        if facts.given:
            return self.log_strength.exp() * enough * coupling(mass, expected, mass.new_full((), 1e-3))
        if strength is None:
            return torch.zeros_like(mass)
        return strength * (enough * coupling(mass, expected, self.log_floor.exp()))

    def judge(self, assigned: Float[Tensor, "B M N"], facts: Facts) -> Float[Tensor, "B 1"]:
        """How far to balance unknown shares, judged by masses that nothing has balanced yet."""
        mass = assigned.sum(1)
        total = mass.sum(-1, keepdim=True).clamp_min(1e-12)
        way = facts.alive.sum(-1, keepdim=True).clamp_min(1).to(mass.dtype)
        inequality = ((mass / total - facts.shares) ** 2).sum(-1, keepdim=True) * way
        looks = torch.stack([torch.ones_like(way), (inequality + 0.01).log()], dim=-1)
        return (looks @ self.balance).sigmoid()
