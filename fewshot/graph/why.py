"""Why a query got its logits: what each class's message adds to them, and where it moves the prototypes."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call

from fewshot.graph.class_graph import ClassGraph
from fewshot.graph.vectors import normalize


class Why(NamedTuple):
    r"""The logits of `ClassGraph` (inductive) as sums; see `why`.

    ``own`` **[B, M, N]**: what the class's own supports give; ``messages`` **[B, M, N, N]**: at
    ``[b, m, i, j]`` what the message of class j gives to the logit of class i; ``handicap`` **[B, 1, N]**:
    what is the same for all queries. ``before`` **[B, M, N]**: the logits without messages between classes.
    ``prototypes_before`` and ``prototypes`` **[B, N, D]**: without them, and with them.
    """

    before: Float[Tensor, "B M N"]
    own: Float[Tensor, "B M N"]
    messages: Float[Tensor, "B M N N"]
    handicap: Float[Tensor, "B 1 N"]
    prototypes_before: Float[Tensor, "B N D"]
    prototypes: Float[Tensor, "B N D"]

    @property
    def after(self) -> Float[Tensor, "B M N"]:
        """The logits: the sum of all parts."""
        return self.own + self.messages.sum(-1) + self.handicap


@torch.no_grad()
def why(
    graph: ClassGraph, support: Float[Tensor, "B N K D"], query: Float[Tensor, "B M D"], **options: Any
) -> Why:
    r"""Take the logits of a class graph apart, in inductive mode.

    A prototype is linear in the messages except for its length :math:`r_i`. So, with the formulas of
    `ClassGraph`, exactly:

    .. math::
        \operatorname{logit}_{mi} = \underbrace{\frac{\sigma}{r_i} \hat q_m \cdot x_i}_\text{own}
            + \sum_j \underbrace{\frac{\sigma \gamma}{r_i} A_{ij} \hat q_m \cdot x_j}_{\text{message of } j}
            + \underbrace{b_i - \sigma h_i}_\text{handicap}, \qquad
        r_i = \Big\lVert x_i + \gamma \sum_j A_{ij} x_j \Big\rVert

    and without messages :math:`\sigma \hat q_m \cdot x_i + b_i - \sigma h_i`.

    Args:
        graph: the class graph.
        support: **[B, N, K, D]**, as the graph takes it.
        query: **[B, M, D]**, likewise.
        options: the graph's masks, ``evidence``, ``proportions`` and ``prior``.

    >>> graph = ClassGraph.pretrained()
    >>> support, query = torch.randn(1, 5, 1, 64), torch.randn(1, 15, 64)
    >>> parts = why(graph, support, query)
    >>> torch.allclose(parts.after, graph(support, query).logits, atol=1e-4)
    True
    """
    gamma = graph.refine.message
    alone = functional_call(graph, {"refine.message": torch.zeros_like(gamma)}, (support, query), options)
    output = graph(support, query, **options)
    x, a = alone.prototypes, output.dependencies
    assert output.scale is not None
    scale = output.scale[:, None, None]
    cosine = scale * normalize(query.to(x.dtype)) @ x.transpose(1, 2)  # [B, M, N]
    length = (x + gamma * (a @ x)).norm(dim=-1)[:, None].clamp_min(1e-12)  # [B, 1, N]
    heard = gamma * cosine[:, :, None] / length[..., None]  # [B, M, N, N]: from class j, by class i
    return Why(
        before=alone.logits,
        own=cosine / length,
        messages=a[:, None] * heard,
        handicap=(alone.logits - cosine)[:, :1],
        prototypes_before=x,
        prototypes=output.prototypes,
    )
