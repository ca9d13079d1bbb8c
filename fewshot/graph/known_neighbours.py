"""The part of the class graph that listens to known classes: edges, weight and belief together."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from fewshot.graph.belief import Belief
from fewshot.graph.conv import ClassGraphConv
from fewshot.graph.known import Listening
from fewshot.graph.message_weight import MessageWeight, affinity, relative
from fewshot.graph.vectors import normalize


class KnownMessages(NamedTuple):
    """The messages of known classes to the N classes of B episodes."""

    there: Bool[Tensor, "B N"]  # classes whose relations say something
    message: Float[Tensor, "B N D"]  # added to the class sums: in supports, as far as it is believed
    dependencies: Float[Tensor, "B N C"]
    belief: Float[Tensor, "B N"]


class KnownNeighbours(nn.Module):
    r"""Messages from known classes, weighted by what supports and relations are worth, and by belief.

    .. math:: t_i \leftarrow t_i + \rho_i \, b_i \, m_i

    with the messages :math:`m` of `Listening`, the weight :math:`\rho` of `MessageWeight` and the `Belief`
    :math:`b`. The message counts like further supports of the class wherever class sums are used.

    Shapes: support **[B, N, K, D]** of length 1, mask bool **[B, N, K]**, classes bool **[B, N]**, known
    **[C, D]**, relations **[N, C]** or **[B, N, C]**, known_relations **[C, C]** or None; `KnownMessages`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.listen = Listening()
        self.weigh = MessageWeight()
        self.believe = Belief()

    def forward(
        self,
        support: Float[Tensor, "B N K D"],
        mask: Bool[Tensor, "B N K"],
        classes: Bool[Tensor, "B N"],
        known: Float[Tensor, "C D"],
        relations: Tensor,
        known_relations: Float[Tensor, "C C"] | None,
        belief: float | None,
        *,
        conv: ClassGraphConv,
        most: int | None,
    ) -> KnownMessages:
        known, kind = normalize(known.to(support.dtype)), support.dtype
        relations = relations.to(kind).expand(*classes.shape, -1)
        if belief == 0:
            classes = torch.zeros_like(classes)
        heard = self.listen(known, relations, classes, known_relations, most, conv)
        relating = relative(support, known)
        near = affinity(relating.sum(2))
        judged = self.believe(near, mask.any(-1), heard) if belief is None else heard.there.to(kind) * belief
        weight = self.weigh(support, mask, heard, known, relating, near) * judged / heard.typical
        return KnownMessages(heard.there, weight[..., None] * heard.messages, heard.weight, judged)
