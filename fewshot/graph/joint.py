"""The joint mode: queries and classes exchange messages (the field calls it transductive inference)."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from fewshot.graph.coupling import Coupling, assign, enough, shared_out
from fewshot.graph.facts import Facts
from fewshot.graph.looks import Looks
from fewshot.graph.operator import Operator, scalar
from fewshot.graph.temperature import Temperature
from fewshot.graph.trust import LabelTrust, Supports
from fewshot.graph.vectors import masked_softmax, normalize, products

FREE = 3  # rounds before unknown shares are judged

Refine = Callable[[Tensor], Tensor]  # class sums [B, N, D] to such with messages between classes [B, N, D]


def among(query: Float[Tensor, "B M D"]) -> Float[Tensor, "B M M"] | None:
    """Inner products of the queries with each other, computed once where that saves time.

    None if there are more than half as many queries as features, or sizes are traced.

    >>> among(torch.tensor([[[0.6, 0.8]]]))
    tensor([[[1.]]])
    """
    many = torch.compiler.is_compiling() or 2 * query.shape[1] > query.shape[2]
    return None if many else query @ query.transpose(1, 2)


def hear(
    query: Float[Tensor, "B M D"], weights: Float[Tensor, "B M N"], across: Float[Tensor, "B M M"] | None
) -> Float[Tensor, "B M N"]:
    r"""Inner product of each query with weighted sums of all queries.

    .. math:: \hat q_m \cdot \textstyle\sum_l w_{li} \hat q_l

    Args:
        query: **[B, M, D]**.
        weights: w **[B, M, N]**.
        across: the queries' inner products with each other, `among`; None: by way of the sums.

    >>> hear(torch.tensor([[[1.0, 0.0], [0.6, 0.8]]]), torch.ones(1, 2, 1), None).flatten()
    tensor([1.6000, 1.6000])
    """
    if across is None:
        return products(query, weights.transpose(1, 2) @ query)
    return products(across, weights.transpose(1, 2))


def leave_one_out(
    along: Float[Tensor, "B M N"],
    length_squared: Float[Tensor, "B N"],
    own: Float[Tensor, "B M N"],
    square: Float[Tensor, "B M 1"],
) -> Float[Tensor, "B M N"]:
    r"""Cosine of each query to the classes, its own message left out, from inner products alone.

    .. math:: \hat q_m \cdot \widehat{(t_i - w_{mi} \hat q_m)}, \qquad
              t_i = b_i + \textstyle\sum_m w_{mi} \hat q_m

    Left in, a query would vouch for itself; so a query that is alone is classified as in inductive mode.

    Args:
        along: inner product of each query with t **[B, M, N]**.
        length_squared: of t **[B, N]**.
        own: w **[B, M, N]**.
        square: squared lengths of the queries **[B, M, 1]**: 1, or 0 for padding.

    >>> query, base = torch.tensor([0.6, 0.8]), torch.tensor([2.0, 0.0])
    >>> total, own, one = base + 0.5 * query, torch.tensor([[[0.5]]]), torch.ones(1, 1, 1)
    >>> leave_one_out((query @ total).view(1, 1, 1), (total @ total).view(1, 1), own, one).round(decimals=4)
    tensor([[[0.6000]]])
    """
    itself = own * square
    rest = length_squared[:, None] - own * (2 * along - itself)
    return (along - itself) / rest.clamp_min(1e-8).sqrt()


def kinship(
    along: Float[Tensor, "B M N"],
    assigned: Float[Tensor, "B M N"],
    mean: Float[Tensor, "B M 1"],
    square: Float[Tensor, "B M 1"],
    floor: Float[Tensor, ""],
) -> Float[Tensor, "B M N"]:
    r"""How much more similar a query is to the other queries of a class than to the other queries at large.

    .. math:: \frac{\sum_{l \ne m} y_{li} (\hat q_m \cdot \hat q_l - \bar c_m)}
                    {\sum_{l \ne m} y_{li} + \epsilon}, \qquad
              \bar c_m = \operatorname{mean}_{l \ne m} \hat q_m \cdot \hat q_l

    A mean, not a sum: a sum would draw queries the more to a class, the more it has.

    Args:
        along: :math:`\sum_l y_{li} \, \hat q_m \cdot \hat q_l`, itself included **[B, M, N]**.
        assigned: y, how far each query counts for each class **[B, M, N]**.
        mean: :math:`\bar c`, see `mean_cosine` **[B, M, 1]**.
        square: squared lengths of the queries **[B, M, 1]**: 1, or 0 for padding.
        floor: epsilon, in queries.

    >>> one = torch.ones(1, 2, 1)
    >>> kinship(torch.eye(2)[None], torch.eye(2)[None], 0 * one, one, torch.tensor(0.0))[0, 0]
    tensor([0., 0.])
    """
    mass = (assigned.sum(1, keepdim=True) - assigned).clamp_min(0)
    found = along - square * assigned - mean * mass
    return found / (mass + floor).clamp_min(1e-8)


def mean_cosine(
    along: Float[Tensor, "B M 1"], seen: Float[Tensor, "B M 1"], square: Float[Tensor, "B M 1"]
) -> Float[Tensor, "B M 1"]:
    """Mean cosine of each query to the others, weighted by how far each counts (``seen``, 0 for padding).

    Args:
        along: of each query with the sum of all, weighted by ``seen`` **[B, M, 1]**.
        seen, square: weights and squared lengths of the queries **[B, M, 1]**.

    >>> query, one = torch.eye(2)[None, [0, 0, 1]], torch.ones(1, 3, 1)
    >>> mean_cosine(hear(query, one, None), one, one).flatten()
    tensor([0.5000, 0.5000, 0.0000])
    """
    others = (seen.sum(1, keepdim=True) - seen).clamp_min(1)
    return (along - square * seen) / others


class Exchanged(NamedTuple):
    """What the rounds of the joint mode come to."""

    logits: Float[Tensor, "B M N"]
    prototypes: Float[Tensor, "B N D"]


class Exchange(Operator):
    r"""Rounds in which the queries are shared out among the classes, and move them.

    .. math::
        z_{mi} = \operatorname{softmax}_i (\operatorname{logit}_{mi} + u_i), \qquad
        t_i = b_i + \textstyle\sum_m w_m z_{mi} \hat q_m, \qquad
        w_m = f \beta K^{\beta_1} \, \text{sure}_m^{\beta_2}

    with :math:`b_i` the class sums of the supports, the offsets u of `Coupling`, and
    :math:`\text{sure}_m = (N \sum_i z_{mi}^2 - 1) / (N - 1)`. The labels of the supports are judged again by
    the new sums, if there are more than two classes. The new logits are

    .. math::
        \operatorname{logit}_{mi} = \sigma \big(\text{leave-one-out cosine}_{mi} - h_i
            + f \lambda e^{\lambda_1 s} \, \text{kinship}_{mi}\big) + b_i

    Everything that queries do to each other is weighted by :math:`f = o^2 / (o^2 + o_0^2)`, where o is the
    number of other queries per class: with one query in all, the result is that of inductive mode. At the end
    comes the `Temperature`; known shares hold exactly (`assign`).

    Args:
        steps: rounds.

    Shapes: query **[B, M, D]** of length 1, seen **[B, M, 1]** (0 for padding), cosines minus handicap
    **[B, M, N]** and scale **[B, 1, 1]** of inductive mode, handicap **[B, N]**; `Exchanged`.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.weight = scalar([-0.9, 0.1, 0.45])  # of a query: log, by log shot, by certainty
        self.few = scalar(1.0)  # log of the other queries per class that give half the weight
        self.log_trust = scalar(1.6094379)  # scale of the cosines by which labels are judged again
        self.trust_few = scalar(0.0)  # log of the other queries per class that give half of that judgement
        self.kinship = scalar([-1.9, 1.2, 0.4])  # log weight, by the strength of the coupling, by certainty
        self.log_kin = scalar(1.0)  # log of the queries added to a class's mass

    def forward(
        self,
        supports: Supports,
        query: Float[Tensor, "B M D"],
        seen: Float[Tensor, "B M 1"],
        cosines: Float[Tensor, "B M N"],
        handicap: Float[Tensor, "B N"],
        scale: Float[Tensor, "B 1 1"],
        facts: Facts,
        looks: Looks,
        *,
        trust: LabelTrust,
        refine: Refine,
        coupling: Coupling,
        temperature: Temperature,
    ) -> Exchanged:
        alive, total, first = facts.alive[:, None], seen.sum(1), supports.assignments
        others = (total - 1).clamp_min(0) / looks.way  # other queries per class [B, 1]
        few = others.square() / (others.square() + (2 * self.few).exp())
        # Of two classes, a doubt about one's supports speaks for the other, round after round.
        reach = others / (others + self.trust_few.exp()) * (looks.way - 2).clamp(0, 1)
        expected, able = facts.shares * total, enough(total, looks.way)
        strength = able if facts.given else torch.zeros_like(total)
        offset = torch.zeros_like(facts.shares)
        bias = facts.bias.masked_fill(~facts.alive, 0.0)[:, None]
        logits = scale * cosines + bias
        base = refine(supports.sums())
        across = among(query) if first is None else None
        square = query.square().sum(-1) if across is None else across.diagonal(dim1=1, dim2=2)
        square = square[..., None]
        mean = mean_cosine(hear(query, seen, across), seen, square)
        weight = (self.weight[0] + self.weight[1] * looks.log_shot).exp() * few
        if across is not None:  # supports and their sums stay what they are
            size = base.norm(dim=-1)
            along_base = (cosines + handicap[:, None]) * size[:, None]
        for step in range(self.steps):
            if step == FREE and not facts.given:
                strength = coupling.judge(masked_softmax(logits, alive) * seen, facts, looks, able)
            if step >= FREE or facts.given:
                offset = coupling(logits, offset, seen, expected, strength, facts)
            share = shared_out(logits, offset, facts.alive)
            sure = self._certainty(share, looks)
            own = (weight[..., None] * sure ** self.weight[2] * seen) * share  # [B, M, N]
            if across is not None:
                along = along_base + hear(query, own, across)
                length_squared = size.square() + (own * (along_base + along)).sum(1)
            else:
                sums = own.transpose(1, 2) @ query
                if first is not None:
                    supports = self._judged(supports, first, sums, trust, reach)
                    base = refine(supports.sums())
                sums = base + sums
                along, length_squared = products(query, sums), sums.square().sum(-1)
            assigned = (sure ** self.kinship[2] * seen) * share
            kin = kinship(hear(query, assigned, across), assigned, mean, square, self.log_kin.exp())
            pull = (few * (self.kinship[0] + self.kinship[1] * strength).exp())[..., None]
            near = leave_one_out(along, length_squared, own, square)
            logits = scale * (near - handicap[:, None] + pull * kin) + bias
        prototypes = normalize(base + own.transpose(1, 2) @ query)
        agreed = self._agreement(scale * cosines, logits + offset[:, None], alive, seen, looks)
        mode = "given" if facts.given else "joint"
        logits = logits if facts.given else logits + offset[:, None]
        logits = temperature(looks, mode, others, agreed)[..., None] * logits.masked_fill(~alive, 0.0)
        if facts.given:
            logits = assign(logits, facts.alive, seen, expected, able)
        return Exchanged(logits.masked_fill(~alive, -torch.inf), prototypes)

    def _judged(
        self, supports: Supports, first: Tensor, sums: Tensor, trust: LabelTrust, reach: Tensor
    ) -> Supports:
        """The supports' labels judged again, also by the queries' sums; as far as these reach."""
        judged = trust.judge(supports, self.log_trust, sums)
        assert judged.assignments is not None
        return judged._replace(assignments=torch.lerp(first, judged.assignments, reach[..., None, None]))

    @staticmethod
    def _certainty(share: Float[Tensor, "B M N"], looks: Looks) -> Float[Tensor, "B M 1"]:
        """From 0, if a query is shared out evenly, to 1, if it is of one class."""
        way = looks.way[..., None]
        return ((share.square().sum(-1, keepdim=True) * way - 1) / (way - 1).clamp_min(1)).clamp(1e-6, 1.0)

    @staticmethod
    def _agreement(
        first: Float[Tensor, "B M N"],
        last: Float[Tensor, "B M N"],
        alive: Tensor,
        seen: Float[Tensor, "B M 1"],
        looks: Looks,
    ) -> Float[Tensor, "B 1"]:
        """How far the first and the last assignment agree, 0 if no more than by chance."""
        both = (masked_softmax(first, alive) * masked_softmax(last, alive)).sum(-1)
        both = ((both * looks.way - 1) / (looks.way - 1).clamp_min(1)).clamp_min(0) * seen[..., 0]
        return both.sum(1, keepdim=True) / seen.sum(1).clamp_min(1)
