"""A graph neural network that labels edges: are two images of the same class?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy

from fewshot.methods.gnn import PairNetwork
from fewshot.methods.shared.fitting import fit_on_features
from fewshot.methods.shared.material import Material
from fewshot.methods.shared.nodes import graphs, mask_classes, supports_there, unit_variance

EPSILON = 1e-6


class NodeUpdate(nn.Module):
    r"""Nodes from their neighbours, with those of the same class and of other classes kept apart.

    .. math:: x'_i = \operatorname{MLP}\left[x_i, \textstyle\sum_j \tilde e_{ij}^{=} x_j,
              \sum_j \tilde e_{ij}^{\ne} x_j\right], \qquad
              \tilde e_{ij} = e_{ij} / \textstyle\sum_{k \ne i} e_{ik}

    Args:
        features, out: sizes of the nodes, before and after.

    Shapes: nodes ``[G, T, features]`` and edges ``[G, 2, T, T]``, zero for nodes that are ignored, to
    ``[G, T, out]``.
    """

    def __init__(self, features: int, out: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3 * features, 2 * out, bias=False),
            nn.BatchNorm1d(2 * out),
            nn.LeakyReLU(),
            nn.Linear(2 * out, out, bias=False),
            nn.BatchNorm1d(out),
            nn.LeakyReLU(),
        )

    def forward(self, x: Float[Tensor, "G T F"], edges: Float[Tensor, "G 2 T T"]) -> Float[Tensor, "G T out"]:
        heard = _shares(edges) @ x.unsqueeze(1)  # [G, 2, T, F]
        new = torch.cat([x, heard[:, 0], heard[:, 1]], -1)
        return self.layers(new.flatten(0, 1)).view(*x.shape[:2], -1)


class EdgeUpdate(nn.Module):
    r"""Edges from their ends: the likelier these are of one class (=) or of two (≠), the more of it is kept.

    With :math:`s_{ij} = \operatorname{sigmoid} \operatorname{MLP}(|x_i - x_j|)`, and
    :math:`1 - s_{ij}` likewise for :math:`e^{\ne}`:

    .. math:: \bar e_{ij}^{=} = \frac{s_{ij} \, e_{ij}^{=}}
              {\sum_k s_{ik} e_{ik}^{=} \,/\, \sum_k e_{ik}^{=}}, \qquad
              e'_{ij} = \bar e_{ij} \,/\, (\bar e_{ij}^{=} + \bar e_{ij}^{\ne})

    Args:
        features: size of the nodes, and of the MLP's narrower layers.

    Shapes: nodes ``[G, T, F]`` and edges ``[G, 2, T, T]``, zero for ignored nodes, to ``[G, 2, T, T]``.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.pairs = PairNetwork(features, (2 * features, 2 * features, features, features))

    def forward(self, x: Float[Tensor, "G T F"], edges: Float[Tensor, "G 2 T T"]) -> Float[Tensor, "G 2 T T"]:
        alike = self.pairs(x).sigmoid()
        kept = torch.stack([alike, 1 - alike], 1) * edges
        kept = _shares(kept) * edges.sum(-1, keepdim=True) + EPSILON
        return kept / kept.sum(1, keepdim=True)


class EGNN(nn.Module):
    r"""Edge-labelling graph neural network (Kim et al., CVPR 2019), on given features.

    The nodes are an episode's images, each with its features; the edges start from the labels: 1 and 0
    between supports, ½ and ½ at a query. Each layer updates nodes, then edges (`NodeUpdate`, `EdgeUpdate`).
    In the end a query's probability of class i is its supports' share of the query's edges:

    .. math:: \operatorname{logit}_{mi} = \log \operatorname{mean}_k e^{=}_{m, ik}

    (In the paper the edges' sums are the logits, which ranks the classes in the same order.)

    By default each query has a graph of its own with all supports; with ``joint`` all queries of an episode
    share one. The two are trained separately. The loss takes the edges at queries from every layer.

    Args:
        features: size D.
        width: of the nodes after the first layer; default 32 (in the paper 96).
        layers: default 3.
        dropout: of the features in training; default 0.5 (the paper has none, as it trains the features too;
            without dropout frozen features of the base classes are memorised).

    Called as all methods are, see `FewShotCall`: support **[B, N, K, D]** and query **[B, M, D]** to logits
    **[B, M, N]**; any way, any shot, queries in any order.

    >>> egnn = EGNN(features=16).eval()
    >>> egnn(torch.randn(2, 5, 1, 16), torch.randn(2, 15, 16), joint=True).shape
    torch.Size([2, 15, 5])
    """

    def __init__(self, features: int, width: int = 32, layers: int = 3, dropout: float = 0.5) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        sizes = (features, *[width] * layers)
        self.nodes = nn.ModuleList(NodeUpdate(sizes[i], sizes[i + 1]) for i in range(layers))
        self.edges = nn.ModuleList(EdgeUpdate(width) for _ in range(layers))

    def forward(
        self,
        support: Float[Tensor, "B N K D"],
        query: Float[Tensor, "B M D"],
        *,
        joint: bool = False,
        support_mask: Bool[Tensor, "B N K"] | None = None,
        class_mask: Bool[Tensor, "B N"] | None = None,
        query_mask: Bool[Tensor, "B M"] | None = None,
        **_: object,
    ) -> Float[Tensor, "B M N"]:
        n, k = support.shape[1:3]
        there = supports_there(support, support_mask, class_mask)
        asked = torch.ones_like(query[..., 0], dtype=torch.bool) if query_mask is None else query_mask
        nodes = graphs(unit_variance(query, asked), unit_variance(support, there).flatten(1, 2), joint)
        present = graphs(asked, there.flatten(1), joint)
        votes = [
            _of_queries(self._label(x, real, n, k)[-1], n, k) for x, real in zip(nodes, present, strict=True)
        ]
        return mask_classes(_log_means(torch.cat(votes).view(*query.shape[:2], n, k), there), class_mask)

    def losses(
        self,
        support: Float[Tensor, "B N K D"],
        query: Float[Tensor, "B M D"],
        labels: Int64[Tensor, "B M"],
        *,
        joint: bool = False,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "B M N"]]:
        """The paper's loss, of the edges of every layer, and the logits."""
        (b, n, k), m = support.shape[:3], query.shape[1]
        own = torch.arange(n, device=labels.device).repeat_interleave(k).expand(b, -1)
        classes = torch.cat(list(graphs(labels, own, joint)))
        same = classes.unsqueeze(1) == classes.unsqueeze(2)  # [G, T, T]
        every = torch.ones_like(classes, dtype=torch.bool)
        nodes = graphs(unit_variance(query), unit_variance(support).flatten(1, 2), joint)
        edges = self._label(torch.cat(list(nodes)), every, n, k)
        layers = torch.stack([edge_loss(found[:, 0], same, n * k) for found in edges])
        loss = (layers.sum() + layers[-1]) / 2  # the last layer counts twice
        votes = _of_queries(edges[-1], n, k).view(b, m, n, k)
        return loss, _log_means(votes, every.new_ones(b, n, k))

    def _label(
        self, x: Float[Tensor, "G T F"], present: Bool[Tensor, "G T"], n: int, k: int
    ) -> list[Float[Tensor, "G 2 T T"]]:
        """The edges after each layer; zero to padding, and from a node to itself."""
        itself = torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
        heard = (present.unsqueeze(1) & ~itself).unsqueeze(1)  # [G, 1, T, T]
        found = [_known_edges(x, n, k) * heard]
        x = self.dropout(x)
        for node_update, edge_update in zip(self.nodes, self.edges, strict=True):
            x = node_update(x, found[-1])
            found.append(edge_update(x, found[-1]) * heard)
        return found[1:]


def edge_loss(edges: Float[Tensor, "G T T"], same: Bool[Tensor, "G T T"], supports: int) -> Float[Tensor, ""]:
    """Binary cross-entropy of the edges at queries, with equal weight for same and different classes."""
    queries = torch.arange(same.shape[1], device=same.device) < same.shape[1] - supports  # these come first
    asked = (queries | queries.unsqueeze(1)).fill_diagonal_(False)
    error = binary_cross_entropy(edges, same.to(edges.dtype), reduction="none")
    return error[same & asked].mean() + error[~same & asked].mean()


def make_egnn(material: Material) -> Callable[..., Tensor]:
    """Two of them, trained on the base classes' features: one for single queries, one for all together."""
    few = max(1, 5 // material.shot)  # queries per class; large graphs cost more and teach more
    alone = fit_on_features(material, EGNN, query=few, steps=250, lr=3e-3)
    together = fit_on_features(material, EGNN, joint=True, batch=8, steps=200, lr=3e-3)

    def egnn(support: Tensor, query: Tensor, *, joint: bool = False, **options: Any) -> Tensor:
        return (together if joint else alone)(support, query, joint=joint, **options)

    return egnn


def _known_edges(nodes: Float[Tensor, "G T F"], n: int, k: int) -> Float[Tensor, "2 T T"]:
    """The edges from the labels: 1 between supports of one class, 0 between two, 1/2 at queries."""
    labels = torch.arange(n, device=nodes.device).repeat_interleave(k)
    edges = nodes.new_full((nodes.shape[1], nodes.shape[1]), 0.5)
    edges[-n * k :, -n * k :] = (labels.unsqueeze(1) == labels).to(edges.dtype)
    return torch.stack([edges, 1 - edges])


def _of_queries(edges: Float[Tensor, "G 2 T T"], n: int, k: int) -> Float[Tensor, "G q NK"]:
    """The same-class edges from queries to supports."""
    return edges[:, 0, : -n * k, -n * k :]


def _log_means(votes: Float[Tensor, "B M N K"], there: Bool[Tensor, "B N K"]) -> Float[Tensor, "B M N"]:
    """Logarithms of the classes' mean votes, without padding."""
    count = there.sum(-1).clamp_min(1).unsqueeze(1)
    return (votes.sum(-1) / count).clamp_min(EPSILON).log()


def _shares(edges: Float[Tensor, "G 2 T T"]) -> Float[Tensor, "G 2 T T"]:
    """Each node's edges over their sum."""
    return edges / edges.sum(-1, keepdim=True).clamp_min(EPSILON)
