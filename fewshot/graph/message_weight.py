"""How much a message from known classes counts next to the supports of a class."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fewshot.graph.known import Heard
from fewshot.graph.operator import Operator, scalar

LEAST, MOST = 0.15, 0.95  # bounds of the reliability of one support
USUAL = 0.2  # reliability of a support whose messages weigh what `log_weight` says


class MessageWeight(Operator):
    r"""The weight of a message, in supports.

    What one support is worth is its reliability :math:`a`, the squared cosine of a support and its class. It
    shows in the mean cosine of two supports of a class, and, if there is only one, in how far it relates to
    the known classes as these relate to each other (the variance of its cosines to them, compared with
    theirs, :math:`g`):

    .. math::
        a = \operatorname{clip}\big((\operatorname{var}_c (\hat s \cdot \mu_c) / g - r_0) / r_1\big), \qquad
        A_K = \frac{K a}{1 + (K - 1) a}, \qquad
        \rho = e^{\theta} w \sqrt{K + K (K - 1) a}
               \left(\frac{(1 - A_K) / \sqrt{A_K}}{0.8 / \sqrt{0.2}}\right)^{f}

    times :math:`1 - u r^4`, with r the correlation of the relations with the class's own cosines to the known
    classes, since repeating the supports adds nothing. Here :math:`w` is the worth of the
    relations and :math:`\sqrt{K + K (K - 1) a}` the length of the sum of K supports (the reliability of a sum
    is that of Spearman and Brown). So a message counts much next to one doubtful image, and little next to
    many, or to one support that is the mean of many.

    Shapes: support **[B, N, K, D]** of length 1, mask bool **[B, N, K]**, `Heard`, known **[C, D]**, the
    supports' centred cosines to them (`relative`) **[B, N, K, C]**, `affinity` **[B, N, C]**; **[B, N]**.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_weight = scalar(-0.2)
        self.relating = scalar([0.6, 0.57])  # r_0, r_1
        self.follow = scalar(1.2)  # how far the weight follows what supports are worth
        self.repeats = scalar(0.92)  # how far relations that repeat the supports count for nothing

    def forward(
        self,
        support: Float[Tensor, "B N K D"],
        mask: Bool[Tensor, "B N K"],
        heard: Heard,
        known: Float[Tensor, "C D"],
        relating: Float[Tensor, "B N K C"],
        near: Float[Tensor, "B N C"],
    ) -> Float[Tensor, "B N"]:
        one = self.reliability(support, mask, known, relating)
        shots = mask.sum(-1).clamp_min(1).to(one.dtype)
        whole = shots * one / (1 + (shots - 1) * one)
        length = (shots + shots * (shots - 1) * one).sqrt()
        noise = (1 - whole) / whole.sqrt() / ((1 - USUAL) / math.sqrt(USUAL))
        new = self.novelty(near, mask.any(-1), heard)
        return self.log_weight.exp() * heard.worth * new * length * noise**self.follow

    def novelty(
        self, near: Float[Tensor, "B N C"], seen: Bool[Tensor, "B N"], heard: Heard
    ) -> Float[Tensor, "B 1"]:
        """How far the relations say more than the supports: little if they are the supports' own looks."""
        rows = seen & heard.there
        spread = heard.relations.square().mean(-1).clamp_min(1e-24).sqrt()
        alike = (heard.relations * near).mean(-1) / spread * rows
        mean = alike.sum(-1, keepdim=True) / rows.sum(-1, keepdim=True).clamp_min(1)
        return 1 - self.repeats * mean.clamp(0, 1) ** 4

    def reliability(
        self,
        support: Float[Tensor, "B N K D"],
        mask: Bool[Tensor, "B N K"],
        known: Float[Tensor, "C D"],
        relating: Float[Tensor, "B N K C"],
    ) -> Float[Tensor, "B 1"]:
        """Squared cosine of one support and its class, one number per episode."""
        gram = relative(known - known.mean(0), known)
        count = mask.sum((1, 2))[:, None].clamp_min(1)
        variance = relating.square().mean(-1).sum((1, 2))[:, None] / count  # padding has none
        ratio = variance / gram.square().mean().clamp_min(1e-12)
        alone = ((ratio - self.relating[0]) / self.relating[1]).clamp(LEAST, MOST)
        if not torch.compiler.is_compiling() and support.shape[2] == 1:  # no pairs of supports
            return alone
        shots = mask.sum(-1).to(variance.dtype)
        pairs = (shots * (shots - 1)).sum(-1, keepdim=True) / 2
        agreed = (support.sum(2).square().sum(-1) - shots).sum(
            -1, keepdim=True
        ) / 2  # sum of cosines of pairs
        classes = (shots > 0).sum(-1, keepdim=True).to(variance.dtype)  # each counts as one pair
        return ((alone * classes + agreed) / (classes + pairs).clamp_min(1)).clamp(LEAST, MOST)


def relative(x: Float[Tensor, "*batch D"], known: Float[Tensor, "C D"]) -> Float[Tensor, "*batch C"]:
    """Cosines to the known classes, compared with their mean over these.

    >>> relative(torch.tensor([0.6, 0.8]), torch.eye(2)).round(decimals=3)
    tensor([-0.1000,  0.1000])
    """
    return x @ (known - known.mean(0)).T


def affinity(relating: Float[Tensor, "B N C"]) -> Float[Tensor, "B N C"]:
    r"""How a class relates to the known classes by its looks: its cosines to them, standardised per row.

    .. math:: u_{ic} = \frac{x_i \cdot \mu_c - \bar u_i}{\operatorname{sd}_c(x_i \cdot \mu_c)}

    Args:
        relating: the centred cosines of `relative`, on any scale **[B, N, C]**.

    >>> affinity(relative(torch.tensor([[[0.6, 0.8]]]), torch.eye(2))).round(decimals=3)
    tensor([[[-1.,  1.]]])
    """
    return relating / relating.square().mean(-1, keepdim=True).clamp_min(1e-24).sqrt()
