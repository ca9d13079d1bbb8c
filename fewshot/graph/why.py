"""Why a query got its logits: what supports, known classes and other classes' messages add to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from fewshot.graph.class_graph import ClassGraph
from fewshot.graph.prepare import prepare
from fewshot.graph.vectors import EPSILON


class Why(NamedTuple):
    r"""The logits of `ClassGraph` (inductive) as sums; see `why`.

    ``own`` **[B, M, N]**: what the class's own supports give; ``known`` **[B, M, N]**: what the known classes
    give that it listens to, 0 without relations; ``messages`` **[B, M, N, N]**: at ``[b, m, i, j]`` what the
    message of class j gives to the logit of class i; ``handicap`` **[B, 1, N]**: what is the same for all
    queries. ``before`` **[B, M, N]**: the logits without messages between the episode's classes.
    ``prototypes_before`` and ``prototypes`` **[B, N, D]**: without them, and with them.
    """

    before: Float[Tensor, "B M N"]
    own: Float[Tensor, "B M N"]
    known: Float[Tensor, "B M N"]
    messages: Float[Tensor, "B M N N"]
    handicap: Float[Tensor, "B 1 N"]
    prototypes_before: Float[Tensor, "B N D"]
    prototypes: Float[Tensor, "B N D"]

    @property
    def after(self) -> Float[Tensor, "B M N"]:
        """The logits: the sum of all parts."""
        return self.own + self.known + self.messages.sum(-1) + self.handicap


@torch.no_grad()
def why(
    graph: ClassGraph, support: Float[Tensor, "B N K D"], query: Float[Tensor, "B M D"], **options: Any
) -> Why:
    r"""Take the logits of a class graph apart, in inductive mode.

    A class sum :math:`t_i = s_i + k_i` is what supports give, by the trust in their labels (`LabelTrust`;
    those of another class count as far as their labels are doubted), and what known classes give,
    :math:`k_i = \rho_i b_i m_i` (`KnownNeighbours`). A prototype is linear in these and in the messages
    except for its length :math:`r_i`. So, with the formulas of `ClassGraph`, exactly:

    .. math::
        \operatorname{logit}_{mi} =
            \underbrace{\frac{\sigma \, \hat q_m \cdot s_i}{r_i \lVert t_i \rVert}}_\text{own}
            + \underbrace{\frac{\sigma \, \hat q_m \cdot k_i}{r_i \lVert t_i \rVert}}_\text{known}
            + \sum_j \underbrace{\frac{\sigma \gamma}{r_i} A_{ij} \hat q_m \cdot x_j}_{\text{message of } j}
            + \underbrace{b_i - \sigma h_i}_\text{handicap}, \qquad
        r_i = \Big\lVert x_i + \gamma \sum_j A_{ij} x_j \Big\rVert

    with :math:`x_i = \hat t_i`, and without messages :math:`\sigma \hat q_m \cdot x_i + b_i - \sigma h_i`.

    Args:
        graph: the class graph.
        support: **[B, N, K, D]**, as the graph takes it.
        query: **[B, M, D]**, likewise.
        options: the graph's masks, ``evidence``, ``proportions`` and ``prior``, and ``known``, ``relations``,
            ``known_relations`` and ``belief``.

    >>> graph = ClassGraph.pretrained()
    >>> support, query = torch.randn(1, 5, 1, 64), torch.randn(1, 15, 64)
    >>> heard = {"known": torch.randn(8, 64), "relations": torch.rand(5, 8)}
    >>> parts = why(graph, support, query, **heard)
    >>> torch.allclose(parts.after, graph(support, query, **heard).logits, atol=1e-4)
    True
    """
    gamma = graph.refine.message
    silent = {"refine.message": torch.zeros_like(gamma)}
    with calls(graph.refine) as refined, calls(graph.neighbours) as told:
        alone = functional_call(graph, silent, (support, query), options)
    output = graph(support, query, **options)
    x, a = alone.prototypes, output.dependencies
    assert output.scale is not None
    seen = prepare(support, query, None, None, options.get("query_mask"), x.dtype).query
    asked = output.scale[:, None, None] * seen
    [((sums,), _)] = refined
    known = told[0][1].message if told else torch.zeros_like(sums)
    cosine = asked @ x.transpose(1, 2)  # [B, M, N]
    length = (x + gamma * (a @ x)).norm(dim=-1)[:, None].clamp_min(EPSILON)  # [B, 1, N]
    share = sums.norm(dim=-1, keepdim=True).clamp_min(EPSILON)  # [B, N, 1]
    heard = gamma * cosine[:, :, None] / length[..., None]  # [B, M, N, N]: from class j, by class i
    return Why(
        before=alone.logits,
        own=asked @ ((sums - known) / share).transpose(1, 2) / length,
        known=asked @ (known / share).transpose(1, 2) / length,
        messages=a[:, None] * heard,
        handicap=(alone.logits - cosine)[:, :1],
        prototypes_before=x,
        prototypes=output.prototypes,
    )


@contextmanager
def calls(module: nn.Module) -> Iterator[list[tuple[tuple[Any, ...], Any]]]:
    """Keep what a module is called with, and what it returns, for as long as the context lasts.

    >>> double = nn.Linear(1, 1, bias=False)
    >>> with calls(double) as kept:
    ...     y = double(torch.ones(1))
    >>> bool(kept[0][0][0] == 1), kept[0][1] is y
    (True, True)
    """
    kept: list[tuple[tuple[Any, ...], Any]] = []
    with module.register_forward_hook(lambda _, given, result: kept.append((given, result))):
        yield kept
