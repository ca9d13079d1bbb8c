"""Sharpness of the cosines, and temperatures that make probabilities mean what they say."""

import torch
from jaxtyping import Float
from torch import Tensor

from fewshot.graph.looks import Looks
from fewshot.graph.operator import Operator, scalar

MODES = ("inductive", "joint", "given")


class Sharpness(Operator):
    r"""By how much an episode's cosines are scaled, compared with those of an ordinary one.

    .. math:: K^{a} \, (v / 0.15)^{-b}

    with v the root mean square cosine of supports of different classes: where these are far from each other,
    small differences of cosines say more.

    Shapes: `Looks` of B episodes to **[B, 1]**.
    """

    def __init__(self) -> None:
        super().__init__()
        self.by = scalar([0.1, -1.0])  # log shot, log spread

    def forward(self, looks: Looks) -> Float[Tensor, "B 1"]:
        return (self.by[0] * looks.log_shot + self.by[1] * looks.log_spread).exp()


class Temperature(Operator):
    r"""The inverse temperature of the final logits, for each mode of its own.

    .. math:: \tau = \exp(\theta \cdot f + \kappa r)

    with r the share of known classes in the class sums, which make them surer, and f of the shots, how far
    the classes lie apart and how tight they are, the way, and in the joint modes also the queries per class
    and how far the rounds agree with the first assignment. It is fitted by cross-entropy and by the gap of
    confidence and accuracy, on classes that the backbone did not see.

    Shapes: `Looks`; others (queries per class that a query does not count itself) and agreement **[B, 1]** or
    None; **[B, 1]**.
    """

    def __init__(self) -> None:
        super().__init__()
        # By 1, shot, wide, narrow, tight, way, queries, agreement, queries times way.
        self.inductive = scalar([-0.681, 0.183, 2.686, -0.609, 0.082, 0.098])
        self.joint = scalar([-0.756, 0.176, 3.018, -0.768, 0.072, 0.152, -0.076, 0.243, 0.0])
        self.heard = scalar(0.3)
        self.given = scalar([-0.249, 0.170, 3.474, 0.008, 0.0, -0.005, -0.305, 0.494, 0.059])

    def forward(
        self,
        looks: Looks,
        mode: str,
        others: Float[Tensor, "B 1"] | None = None,
        agreement: Float[Tensor, "B 1"] | None = None,
    ) -> Float[Tensor, "B 1"]:
        one = torch.ones_like(looks.way)
        by = [one, looks.log_shot, looks.log_wide, looks.log_narrow, looks.log_tight, looks.log_way]
        if others is not None and agreement is not None:
            many = (1 + others).log()
            by += [many, agreement, many * looks.log_way]
        weights: Tensor = getattr(self, mode)
        return (torch.cat(by, -1) @ weights + self.heard * looks.heard[:, 0]).exp()[:, None]
