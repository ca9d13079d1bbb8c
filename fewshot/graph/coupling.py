"""Coupling of the classes through their shares of the queries (joint mode)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fewshot.graph.facts import Facts
from fewshot.graph.looks import Looks
from fewshot.graph.operator import Operator, scalar
from fewshot.graph.vectors import barred, softmax

OVER = 1.5  # over-relaxation of Sinkhorn's iteration (Thibault et al. 2021), after the first rounds
ROUNDS, FIRST = 24, 4


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
    return ((mass + floor) / (expected + floor)).clamp_min(1e-9).log()


def shared_out(
    logits: Float[Tensor, "B M N"], offset: Float[Tensor, "B N"], alive: Bool[Tensor, "B N"]
) -> Float[Tensor, "B M N"]:
    """How far each query is of each class that may occur, by logits and offsets of the classes.

    >>> alive = torch.tensor([[True, True, False]])
    >>> shared_out(torch.zeros(1, 1, 3), torch.zeros(1, 3), alive)
    tensor([[[0.5000, 0.5000, 0.0000]]])
    """
    return softmax(logits + barred(offset, alive)[:, None])


def assign(
    logits: Float[Tensor, "B M N"],
    alive: Bool[Tensor, "B N"],
    seen: Float[Tensor, "B M 1"],
    expected: Float[Tensor, "B N"],
    strength: Float[Tensor, "B 1"],
) -> Float[Tensor, "B M N"]:
    r"""Log probabilities whose sums per class are the expected ones, or near them if ``strength`` is below 1.

    Sinkhorn's iteration on offsets u of the classes, over-relaxed,

    .. math:: u \leftarrow s \Big(u - \log \tfrac{n(u)}{e}\Big), \qquad
              n_c(u) = \textstyle\sum_m \operatorname{softmax}_c (\operatorname{logit}_{mc} + u_c)

    and then what is left is put right exactly (Altschuler, Weed and Rigollet 2017, algorithm 2): classes with
    too much are scaled down, and what their queries lack goes to the classes with too little.

    Args:
        logits: **[B, M, N]**.
        alive: bool **[B, N]**, classes that may occur.
        seen: how far each query counts **[B, M, 1]**; 0 for padding.
        expected: queries per class **[B, N]**; their sum is that of ``seen``.
        strength: s **[B, 1]**.

    >>> logits = torch.tensor([[[9.0, 0.0], [8.0, 0.0], [9.0, 1.0]]])
    >>> every, one = torch.ones(1, 2).bool(), torch.ones(1, 3, 1)
    >>> assign(logits, every, one, torch.tensor([[2.0, 1.0]]), torch.ones(1, 1)).exp().sum(1)
    tensor([[2., 1.]])
    """
    kind = logits.dtype
    if logits.device.type != "mps":  # which has no double precision; small probabilities need it
        logits, seen, expected, strength = (x.double() for x in (logits, seen, expected, strength))
    offset = torch.zeros_like(expected)
    plain = shared_out(logits, offset, alive)

    def found_by(offset: Float[Tensor, "B N"]) -> Float[Tensor, "B M N"]:  # without all exponentials again
        weighted = plain * offset.softmax(-1)[:, None]
        return weighted / weighted.sum(-1, keepdim=True).clamp_min(torch.finfo(weighted.dtype).tiny)

    for step in range(ROUNDS):
        mass = (found_by(offset) * seen).sum(1)
        target = strength * (offset - coupling(mass, expected, mass.new_full((), 1e-6)))
        offset = offset + (1.0 if step < FIRST else OVER) * (target - offset)
    found = found_by(offset)
    mass = (found * seen).sum(1)
    kept = found * (expected / mass.clamp_min(1e-12)).clamp_max(1)[:, None]
    lack = (expected - mass).clamp_min(0)
    lack = lack / lack.sum(-1, keepdim=True).clamp_min(1e-12)
    exact = kept + (1 - kept.sum(-1, keepdim=True)).clamp_min(0) * lack[:, None]
    found = torch.where((strength >= 1)[..., None], exact, found)
    return found.clamp_min(1e-12).log().to(kind)


class Coupling(Operator):
    r"""Offsets of the classes' logits that bring their masses near the expected ones.

    .. math:: u_i \leftarrow s \Big(u_i - \log \frac{n_i + \epsilon}{e_i + \epsilon}\Big)

    If the shares are known, :math:`s = e`, which grows from 0 for a single query to 1 for one query per class
    and more. If they are not, the classes are free at first; then the strength is judged by how unequal the
    free masses look, with equal shares :math:`\pi`:

    .. math:: s = e \, \sigma\big(\theta \cdot (1, \log(N \textstyle\sum_i (n_i / n - \pi_i)^2 + 0.01),
              \log \tfrac N5, \log \tfrac{n}{15 N}, \log K)\big)

    Shapes: logits **[B, M, N]**, offset and expected **[B, N]**, seen **[B, M, 1]**, strength **[B, 1]**.
    """

    def __init__(self) -> None:
        super().__init__()
        self.balance = scalar([-7.02, -3.0, 0.9, -0.5, -0.25])  # by 1, log inequality, way, queries, shot
        self.log_floor = scalar(1.3)  # unknown shares: epsilon, in queries

    def forward(
        self,
        logits: Float[Tensor, "B M N"],
        offset: Float[Tensor, "B N"],
        seen: Float[Tensor, "B M 1"],
        expected: Float[Tensor, "B N"],
        strength: Float[Tensor, "B 1"],
        facts: Facts,
    ) -> Float[Tensor, "B N"]:
        """The next offsets."""
        floor = self.log_floor.exp() if not facts.given else self.log_floor.new_full((), 1e-4)
        for _ in range(2 if facts.given else 1):
            mass = (shared_out(logits, offset, facts.alive) * seen).sum(1)
            offset = strength * (offset - coupling(mass, expected, floor))
        return offset

    def judge(
        self, assigned: Float[Tensor, "B M N"], facts: Facts, looks: Looks, enough: Float[Tensor, "B 1"]
    ) -> Float[Tensor, "B 1"]:
        """How strongly to balance unknown shares, by masses that nothing has balanced yet."""
        mass = assigned.sum(1)
        total = mass.sum(-1, keepdim=True).clamp_min(1)
        inequality = ((mass / total - facts.shares) ** 2).sum(-1, keepdim=True) * looks.way
        many = (total / looks.way / 15).log()
        by = [torch.ones_like(total), (inequality + 0.01).log(), looks.log_way, many, looks.log_shot]
        return enough * (torch.cat(by, -1) @ self.balance).sigmoid()[:, None]


def enough(total: Float[Tensor, "B 1"], way: Float[Tensor, "B 1"]) -> Float[Tensor, "B 1"]:
    """From 0 for a single query to 1 from one query per class on: nothing can be shared out before.

    >>> enough(torch.tensor([[1.0], [3.0], [9.0]]), torch.full((3, 1), 5.0)).flatten()
    tensor([0.0000, 0.5000, 1.0000])
    """
    return ((total - 1) / (way - 1).clamp_min(1)).clamp(0, 1)
