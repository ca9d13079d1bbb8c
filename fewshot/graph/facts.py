"""What is known of an episode's query set: which classes occur in it, and how often."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fewshot.graph.operator import Operator, scalar


class Facts(NamedTuple):
    """What is known of the query sets of B episodes."""

    alive: Bool[Tensor, "B N"]  # classes that may occur
    present: Float[Tensor, "B N"]  # 1 for a class that is known to occur
    shares: Float[Tensor, "B N"]  # of the queries; equal if unknown
    bias: Float[Tensor, "B N"]  # log odds before any query is looked at
    given: bool  # whether the shares are known


class QueryFacts(Operator):
    r"""Turn evidence and shares into log odds of the classes.

    .. math:: b_i = e^{\theta} [\text{class } i \text{ is known to occur}] + \log (N_\text{alive} \, \pi_i)

    so that :math:`b = 0` if nothing is known; :math:`-\infty` for a class that does not occur.

    Args:
        presence: where the log odds of a class known to occur start; default 0.1.

    Shapes: classes bool **[B, N]**; evidence **[B, N]** (1 there, 0 not, NaN unknown) or None; proportions
    **[B, N]** or None.

    >>> facts = QueryFacts()
    >>> facts(torch.tensor([[True, True]]), None, torch.tensor([[3.0, 1.0]])).bias.detach()
    tensor([[ 0.4055, -0.6931]])
    """

    def __init__(self, presence: float = 0.1) -> None:
        super().__init__()
        self.log_presence = scalar(math.log(presence))

    def forward(
        self,
        classes: Bool[Tensor, "B N"],
        evidence: Float[Tensor, "B N"] | None = None,
        proportions: Float[Tensor, "B N"] | None = None,
    ) -> Facts:
        alive, present = classes, torch.zeros_like(classes)
        if evidence is not None:
            alive, present = alive & (evidence != 0), classes & (evidence == 1)
        if proportions is not None:
            alive = alive & (proportions > 0)
        shares = alive.to(self.log_presence.dtype) if proportions is None else proportions * alive
        shares = shares / shares.sum(-1, keepdim=True).clamp_min(1e-12)
        there = present.to(shares.dtype)
        # Log odds compared with equal shares.
        bias = self.log_presence.exp() * there + (shares * alive.sum(-1, keepdim=True)).clamp_min(1e-6).log()
        return Facts(alive, there, shares, bias.masked_fill(~alive, -torch.inf), proportions is not None)
