"""Belief in relations: are they true of the classes of this episode?"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from fewshot.graph.known import Heard
from fewshot.graph.operator import Operator, scalar


class Belief(Operator):
    r"""How far each class's relations are believed, by whether its supports look like what it hears.

    The agreement of a class is :math:`z_i = \sum_c A_{ic} u_{ic}`, with :math:`u` its `affinity` to the known
    classes: they are compared with all known classes, not with the other classes of the episode, so that
    episodes of near classes are judged as well. False relations give :math:`z \sim 0`, true ones about
    :math:`d \lVert m_i \rVert^2`, so the log likelihood ratio is

    .. math:: l_i = \epsilon \, d \left(z_i - \tfrac{\eta}{2} d \lVert m_i \rVert^2\right)

    An episode's relations are of one of two kinds, mostly true or mostly false (a share :math:`\tau_1` or
    :math:`\tau_0` of the rows is true; prior log odds :math:`\pi`). The evidence of all classes judges the
    kind, and each class's own evidence its row:

    .. math::
        P(k) \propto \pi_k \textstyle\prod_i (\tau_k e^{l_i} + 1 - \tau_k), \qquad
        b_i = \textstyle\sum_k P(k) \frac{\tau_k e^{l_i}}{\tau_k e^{l_i} + 1 - \tau_k}

    Shapes: `affinity` of the classes to the known ones **[B, N, C]**, seen bool **[B, N]** (classes with
    supports; others give no evidence), `Heard`; **[B, N]** from 0 to 1, and 0 for a class that hears nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.evidence = scalar(0.74)
        self.hope = scalar(0.96)
        self.prior = scalar(-1.0)
        self.rows = scalar([2.5, -6.0])  # log odds of a true row, in either kind of episode

    def forward(
        self,
        near: Float[Tensor, "B N C"],
        seen: Bool[Tensor, "B N"],
        heard: Heard,
    ) -> Float[Tensor, "B N"]:
        agreement = (heard.weight * near).sum(-1)
        expected = heard.effect * heard.length.square()
        ratio = self.evidence * heard.effect * (agreement - 0.5 * self.hope * expected)
        counts = seen & heard.there
        ratio = torch.where(counts, ratio, 0.0)[..., None]  # [B, N, 1]
        true, false = logsigmoid(self.rows), logsigmoid(-self.rows)  # [kind]
        row = torch.logaddexp(true + ratio, false.expand(*ratio.shape[:2], -1))  # [B, N, kind]
        kinds = logsigmoid(torch.stack([self.prior, -self.prior]))
        kind = (kinds + (row * counts[..., None]).sum(1)).softmax(-1)  # [B, kind]
        belief = (kind[:, None] * (true + ratio - row).exp()).sum(-1)
        return belief * heard.there
