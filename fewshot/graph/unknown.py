"""None of these: is a query of a class that the episode does not have?"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fewshot.graph.operator import Operator, scalar
from fewshot.graph.vectors import masked_softmax, normalize


class NoneOfThese(Operator):
    r"""Log odds that a query is of none of the episode's classes.

    .. math::
        s_m = a \Big(b_0 + b_1 \log K + \log N - \log \textstyle\sum_i e^{\sigma \cos_{mi}}
              + c \big(\log \tfrac 1C \textstyle\sum_c e^{\rho \, \hat q_m \cdot \mu_c} - d\big)\Big)

    The sum over the episode's classes is compared with a background: a constant, and, if there are known
    classes, the sum over these, since a query that looks like a class the backbone knows well gives large
    cosines to everything. That sum is broader, :math:`\rho < \sigma`: what matters is not the nearest known
    class but how strongly the query excites the backbone's features. In joint mode the queries exchange one
    message, as strangers are near strangers:

    .. math::
        s_m \leftarrow a' \Big(s_m + h \textstyle\sum_{l \ne m} W_{ml} s_l\Big), \qquad
        W_{ml} = \operatorname{softmax}_{l \ne m}(\lambda \, \hat q_m \cdot \hat q_l)

    Shapes: cosines minus handicap **[B, M, N]** of inductive mode, classes bool **[B, N]**, mask bool
    **[B, N, K]**; **[B, M]**.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_sharpness = scalar(2.351)  # of the cosines
        self.scale = scalar(0.603)
        self.bias = scalar([1.454, 0.247])  # by 1 and log shot
        self.background = scalar([3.412, 0.29, 1.386])  # of the known: weight, usual value, log sharpness
        self.exchange = scalar([0.527, 1.594, 12.0])  # joint: scale, weight of what is heard, sharpness

    def forward(
        self,
        cosines: Float[Tensor, "B M N"],
        classes: Bool[Tensor, "B N"],
        mask: Bool[Tensor, "B N K"],
        background: Float[Tensor, "B M"] | None = None,
    ) -> Float[Tensor, "B M"]:
        """Each query on its own; see `against` for the background."""
        shot = (mask.sum((1, 2)) / mask.any(-1).sum(-1).clamp_min(1)).clamp_min(1)
        usual = self.bias[0] + self.bias[1] * shot.log() + classes.sum(-1).clamp_min(1).log()
        logits = (self.log_sharpness.exp() * cosines).masked_fill(~classes[:, None], -torch.inf)
        odds = usual[:, None] - logits.logsumexp(-1)
        return self.scale * (odds if background is None else odds + background)

    def against(
        self, query: Float[Tensor, "B M D"], known: Tensor, there: Bool[Tensor, "B N"]
    ) -> Float[Tensor, "B M"]:
        """The background of known classes **[C, D]**; 0 in episodes without relations."""
        near = self.background[2].exp() * query @ normalize(known.to(query.dtype)).T
        found = near.logsumexp(-1) - math.log(len(known)) - self.background[1]
        return self.background[0] * found * there.any(-1, keepdim=True)

    def among_queries(
        self, odds: Float[Tensor, "B M"], query: Float[Tensor, "B M D"], seen: Float[Tensor, "B M 1"]
    ) -> Float[Tensor, "B M"]:
        """The message between the queries; ``seen`` is 0 for padding."""
        m = query.shape[1]
        others = ~torch.eye(m, dtype=torch.bool, device=query.device)
        weight = masked_softmax(
            self.exchange[2] * (query @ query.transpose(1, 2)), (seen > 0).transpose(1, 2) & others
        )
        return self.exchange[0] * (odds + self.exchange[1] * (weight @ odds[..., None])[..., 0])
