"""What the classes of an episode hear from known classes, along relations from outside."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import softplus

from fewshot.graph.conv import ClassGraphConv
from fewshot.graph.operator import Operator, scalar
from fewshot.graph.vectors import EPSILON, masked_softmax

SOFT = 20.0  # how sharply `softplus` bends at 0, in cosines


class Heard(NamedTuple):
    """What the N classes of B episodes hear from C known classes."""

    there: Bool[Tensor, "B N"]  # classes whose relations say something
    relations: Float[Tensor, "B N C"]  # standardised; 0 for classes of which they say nothing
    weight: Float[Tensor, "B N C"]  # how much each class listens to each known class; rows sum to 1, or are 0
    messages: Float[Tensor, "B N D"]
    length: Float[Tensor, "B N"]  # of the messages
    typical: Float[Tensor, "B 1"]  # of these lengths in the episode
    worth: Float[Tensor, "#B 1"]  # of these relations; 1 is ordinary
    effect: Float[Tensor, "#B 1"]  # by how much true relations move the agreement, in squared lengths


def informative(relations: Float[Tensor, "B N C"]) -> Bool[Tensor, "B N"]:
    """Which rows say something: neither NaN nor constant.

    >>> informative(torch.tensor([[[1.0, 2.0], [3.0, 3.0], [torch.nan, torch.nan]]]))
    tensor([[ True, False, False]])
    """
    low, high = relations.amin(-1), relations.amax(-1)
    floor = 1e-5 * torch.maximum(-low, high).clamp_min(1e-30)
    return ~relations.sum(-1).isnan() & (high - low > floor)


def standardise(relations: Float[Tensor, "B N C"], there: Bool[Tensor, "B N"]) -> Float[Tensor, "B N C"]:
    r"""Relations centred by row, in units of one spread per episode.

    .. math:: s_{ic} = \frac{R_{ic} - \bar R_i}{\sqrt{\operatorname{mean}_{j, c} (R_{jc} - \bar R_j)^2}}

    A constant added to all relations, or a positive factor, changes nothing. The spread is pooled over the
    classes, since a row of which all entries are nearly alike says less than others.

    Args:
        relations: similarities of the classes to the known classes **[B, N, C]**, without NaN.
        there: bool **[B, N]**, the rows that count; others are 0.

    >>> standardise(torch.tensor([[[0.0, 2.0], [1.0, 3.0]]]), torch.ones(1, 2).bool())
    tensor([[[-1.,  1.],
             [-1.,  1.]]])
    """
    x = torch.where(there[..., None], relations, 0.0)
    x = x - x.mean(-1, keepdim=True)
    rows = there.sum(-1, keepdim=True).clamp_min(1)
    variance = x.square().mean((1, 2))[:, None] * there.shape[-1] / rows  # [B, 1]
    return x / variance.clamp_min(1e-24).sqrt()[..., None]


def coherence(
    weight: Float[Tensor, "B N C"], length: Float[Tensor, "B N"], there: Bool[Tensor, "B N"], usual: Tensor
) -> Float[Tensor, "B 1"]:
    r"""Mean cosine of two different known classes that one class listens to.

    .. math:: h = \frac{\sum_i (\lVert m_i \rVert^2 - \sum_c A_{ic}^2) / N + 0.1 \, h_0}
                       {\sum_i (1 - \sum_c A_{ic}^2) / N + 0.1}

    Relations that are worth something hold together known classes that are alike.

    Args:
        weight: A, dependencies on known classes **[B, N, C]**.
        length: of the messages m **[B, N]**.
        there: bool **[B, N]**, classes that listen.
        usual: :math:`h_0`, what counts if there are no pairs.

    >>> weight = torch.tensor([[[0.5, 0.5]]])  # two known classes at right angles
    >>> h = coherence(weight, torch.tensor([[0.5**0.5]]), torch.ones(1, 1).bool(), torch.tensor(0.0))
    >>> bool(h.abs() < 1e-6)
    True
    """
    alone = weight.square().sum(-1)
    rows = there.sum(-1, keepdim=True).clamp_min(1)
    pairs = ((1 - alone) * there).sum(-1, keepdim=True) / rows
    cosine = ((length.square() - alone) * there).sum(-1, keepdim=True) / rows
    return (cosine + 0.1 * usual) / (pairs + 0.1)


def leave_one_out(
    known: Float[Tensor, "C D"], relations: Float[Tensor, "C C"], sharpness: Tensor
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    r"""How well each known class is predicted from the others along their relations.

    Args:
        known: prototypes of length 1 **[C, D]**.
        relations: similarities among the known classes **[C, C]**; the diagonal is not looked at.
        sharpness: of the edges.

    Returns:
        The correlation of the predictions :math:`m_c` with the prototypes, and their mean agreement in units
        of :math:`\lVert m \rVert^2` (see `Belief`).

    >>> known = torch.eye(2)[[0, 0, 1, 1]]
    >>> correlation, _ = leave_one_out(known, known @ known.T, torch.tensor(20.0))
    >>> correlation.round(decimals=4)
    tensor(1.)
    """
    n = len(known)
    others = ~torch.eye(n, dtype=torch.bool, device=known.device)

    def centred(x: Float[Tensor, "C C"]) -> Float[Tensor, "C C"]:
        x = torch.where(others, x, 0.0)
        return torch.where(others, x - x.sum(-1, keepdim=True) / max(n - 1, 1), 0.0)

    x = centred(relations)
    x = x / (x.square().sum() / max(n * (n - 1), 1)).clamp_min(1e-24).sqrt()
    weight = masked_softmax(sharpness * x, others)
    messages = weight @ known
    power = messages.square().sum().sqrt() * known.square().sum().sqrt()
    correlation = (messages * known).sum() / power.clamp_min(EPSILON)
    looks = centred(known @ known.T)
    spread = (looks.square().sum(-1) / max(n - 1, 1)).clamp_min(1e-24).sqrt()
    agreement = ((weight * looks).sum(-1) / spread).mean()
    return correlation, agreement / messages.square().sum(-1).mean().clamp_min(EPSILON)


class Listening(Operator):
    r"""Edges from known classes to the classes of an episode, and the messages along them.

    .. math::
        A_{ic} = \operatorname{softmax}_c(e^{\alpha} s_{ic}), \qquad
        m_i = \textstyle\sum_c A_{ic} \mu_c

    with `standardise`\ d relations :math:`s`. The messages are not normalised one by one: a class whose
    neighbours disagree hears less. Their worth follows their `coherence` :math:`h`, and, if relations among
    the known classes are given, how well these predict the known classes from each other (`leave_one_out`),
    compared with how well their looks do:

    .. math::
        w = \left(\frac{\operatorname{softplus}(h + h_1)}{\operatorname{softplus}(h_0 + h_1)}\right)^{a}
            \left(\frac{r}{r_\text{looks} \, r_0}\right)^{b}

    Shapes: known **[C, D]** of length 1, relations **[B, N, C]**, classes bool **[B, N]**, known_relations
    **[C, C]** or None; `Heard`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_sharpness = scalar(0.3)  # of the edges
        self.coherence = scalar(
            [0.055, 0.035]
        )  # of ordinary relations, and how far below 0 they are worth nothing
        self.coherence_power = scalar(1.25)
        self.ordinary = scalar(0.45)  # correlation of ordinary relations, relative to looks
        self.power = scalar(1.5)
        self.effect = scalar(3.85)  # of true relations on the agreement, if none among the known are given
        self.seen = scalar(0.75)  # the same of new classes, compared with known ones

    def forward(
        self,
        known: Float[Tensor, "C D"],
        relations: Float[Tensor, "B N C"],
        classes: Bool[Tensor, "B N"],
        known_relations: Float[Tensor, "C C"] | None = None,
        neighbours: int | None = None,
        conv: ClassGraphConv | None = None,
    ) -> Heard:
        """Listen to all known classes, or along sparse edges of ``conv`` to the ``neighbours`` nearest."""
        there = informative(relations) & classes
        standard = standardise(relations, there)
        scores = self.log_sharpness.exp() * standard
        if neighbours is None or neighbours >= len(known) or conv is None:
            weight = scores.softmax(-1) * there[..., None]
            messages = weight @ known
        else:
            near = scores.topk(neighbours, dim=-1).indices
            mask = there[..., None] & torch.zeros_like(scores, dtype=torch.bool).scatter(-1, near, True)
            weight = masked_softmax(scores, mask)
            messages = sparse_messages(conv, known, near, weight)
        square = messages.square().sum(-1)
        rows = there.sum(-1, keepdim=True).clamp_min(1)
        typical = (square.sum(-1, keepdim=True) / rows).clamp_min(EPSILON).sqrt()  # [B, 1]
        worth = self._worth(coherence(weight, square.sqrt(), there, self.coherence[0]))
        effect = self.effect.view(1, 1)
        if known_relations is not None:
            found, agreement = leave_one_out(known, known_relations, self.log_sharpness.exp())
            best, _ = leave_one_out(known, known @ known.T, self.log_sharpness.exp())
            worth = worth * (found / best.clamp_min(0.05) / self.ordinary).clamp(0.1, 2.0) ** self.power
            effect = (self.seen * agreement.clamp_min(0.3)).view(1, 1)
        return Heard(there, standard, weight, messages, square.sqrt(), typical, worth, effect)

    def _worth(self, h: Float[Tensor, "B 1"]) -> Float[Tensor, "B 1"]:
        usual = softplus(SOFT * self.coherence.sum())
        return (softplus(SOFT * (h + self.coherence[1])) / usual) ** self.coherence_power


def sparse_messages(
    conv: ClassGraphConv,
    known: Float[Tensor, "C D"],
    near: Tensor,
    weight: Float[Tensor, "B N C"],
) -> Float[Tensor, "B N D"]:
    """Messages along the edges from the known classes ``near`` int64 **[B, N, k]**, by the layer itself."""
    b, n, k = near.shape
    target = torch.arange(b * n, device=known.device).repeat_interleave(k)
    edge_index = torch.stack([near.flatten(), target])
    weights = weight.gather(-1, near).flatten()
    return conv((known, known.new_zeros(b * n, 0)), edge_index, weights).unflatten(0, (b, n))
