"""The joint mode: queries and classes exchange messages (the field calls it transductive inference)."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from fewshot.graph.coupling import Coupling
from fewshot.graph.facts import Facts
from fewshot.graph.head import PrototypeHead
from fewshot.graph.operator import Operator, scalar
from fewshot.graph.trust import LabelTrust, Supports
from fewshot.graph.vectors import masked_softmax, normalize

FREE = 3  # rounds before unknown shares are judged

Refine = Callable[[Tensor], Tensor]  # class sums [B, N, D] to prototypes [B, N, D]


class Exchange(Operator):
    r"""Rounds in which the queries are shared out among the classes, and move them.

    .. math::
        z_{mi} = \operatorname{softmax}_i \operatorname{logit}_{mi}, \qquad
        h_i = \textstyle\sum_m z_{mi} \hat q_m, \qquad
        t_i = t_i^{(0)} + \beta h_i

    The labels of the supports are judged again by the new sums, prototypes are refined, and the new logits
    have two more terms. *Kinship*: a query is drawn to the class that holds queries similar to it, by
    :math:`\lambda \frac NM \hat q_m \cdot \sum_{l \ne m} z_{li} (\hat q_l - \bar q)`. *Coupling*: what
    `Coupling` makes of the classes' masses is subtracted, in every round; unknown shares are judged once, by
    the masses of the fourth round, so that with fewer than four rounds they are not coupled.

    At the end the logits are multiplied by a confidence :math:`c_0 K^{c_1}`, since queries that have agreed
    with one another are surer than they are right.

    Args:
        steps: rounds.

    Shapes: query **[B, M, D]** of length 1, seen **[B, M, 1]** (0 for padding), logits **[B, M, N]**; logits
    **[B, M, N]** and prototypes **[B, N, D]**.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.log_query_weight = scalar(math.log(0.3))  # of a query compared with a support
        self.log_trust = scalar(math.log(5.0))  # scale of the cosines by which labels are judged again
        self.log_kinship = scalar(math.log(4.0))
        self.log_confidence = scalar([math.log(0.5), 0.0])  # by (1, log shot)

    def forward(
        self,
        supports: Supports,
        query: Float[Tensor, "B M D"],
        seen: Float[Tensor, "B M 1"],
        logits: Float[Tensor, "B M N"],
        facts: Facts,
        *,
        trust: LabelTrust,
        refine: Refine,
        coupling: Coupling,
        head: PrototypeHead,
    ) -> tuple[Float[Tensor, "B M N"], Float[Tensor, "B N D"]]:
        alive, bias = facts.alive[:, None], facts.bias
        expected = facts.shares * seen.sum(1)  # queries per class
        mean = (query * seen).sum(1, keepdim=True) / seen.sum(1, keepdim=True).clamp_min(1)  # [B, 1, D]
        prototypes, strength = normalize(supports.sums()), None
        for step in range(self.steps):
            assigned = masked_softmax(logits, alive) * seen  # [B, M, N]
            if step == FREE:
                strength = coupling.judge(assigned, facts)
            push = coupling(assigned.sum(1), expected, facts, strength)
            bias = bias - push
            assigned = masked_softmax(logits - push[:, None], alive) * seen
            heard = assigned.transpose(1, 2) @ query  # [B, N, D]
            supports = trust.judge(supports, self.log_trust, self.log_query_weight.exp() * heard)
            prototypes = refine(supports.sums() + self.log_query_weight.exp() * heard)
            kinship = self._kinship(query, mean, heard, assigned, facts, seen)
            logits = head.scores(query, prototypes, bias) + kinship
        logits = logits.masked_fill(~alive, 0.0)  # no gradient from -inf
        logits = self._confidence(supports)[:, None, None].to(logits.dtype) * logits
        if facts.given:  # the final probabilities have the shares that are known
            mass = (masked_softmax(logits, alive) * seen).sum(1)
            logits = logits - coupling(mass, expected, facts)[:, None]
        return logits.masked_fill(~alive, -torch.inf), prototypes

    def _kinship(
        self,
        query: Float[Tensor, "B M D"],
        mean: Float[Tensor, "B 1 D"],
        heard: Float[Tensor, "B N D"],
        assigned: Float[Tensor, "B M N"],
        facts: Facts,
        seen: Float[Tensor, "B M 1"],
    ) -> Float[Tensor, "B M N"]:
        """How far queries similar to a query are assigned to each class, the query itself left out."""
        # What all queries share is taken out: a class would draw others by it the more, the more it has.
        similar = heard - assigned.sum(1)[..., None] * mean
        own = query.norm(dim=-1, keepdim=True) ** 2 - query @ mean.transpose(
            1, 2
        )  # what it would tell itself
        # One over the average number of queries per class [B, 1, 1].
        typical = (facts.alive.sum(-1, keepdim=True) / seen.sum(1).clamp_min(1))[..., None]
        return self.log_kinship.exp() * typical * (query @ similar.transpose(1, 2) - own * assigned)

    def _confidence(self, supports: Supports) -> Float[Tensor, " B"]:
        shot = supports.mask.sum((1, 2)) / supports.mask.any(-1).sum(-1).clamp_min(1)
        return (self.log_confidence[0] + self.log_confidence[1] * shot.clamp_min(1).log()).exp()
