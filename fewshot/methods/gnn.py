"""A graph neural network over an episode's images."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from fewshot.graph.vectors import masked_softmax
from fewshot.methods.shared.fitting import fit_on_features
from fewshot.methods.shared.material import Material
from fewshot.methods.shared.nodes import check_way, graphs, mask_classes, supports_there, unit_variance


class PairNetwork(nn.Module):
    r"""A number for each pair of nodes, from how their features differ: an MLP of :math:`|x_i - x_j|`.

    Linear, batch norm and leaky ReLU for each hidden layer, then a linear layer.

    Args:
        features: size F of the nodes.
        hidden: sizes of the hidden layers.

    Shapes: ``[G, T, F]`` to ``[G, T, T]``, symmetric, zero on the diagonal.
    """

    def __init__(self, features: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        sizes = (features, *hidden)
        layers: list[nn.Module] = []
        for i in range(len(hidden)):
            layers += [nn.Linear(sizes[i], sizes[i + 1]), nn.BatchNorm1d(sizes[i + 1]), nn.LeakyReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], 1))

    def forward(self, x: Float[Tensor, "G T F"]) -> Float[Tensor, "G T T"]:
        g, t, _ = x.shape
        i, j = torch.triu_indices(t, t, 1, device=x.device)  # each pair once
        different = (x[:, i] - x[:, j]).abs().flatten(0, 1)
        half = x.new_zeros(g, t, t)
        half[:, i, j] = self.layers(different).view(g, -1)
        return half + half.transpose(1, 2)


class GraphConvolution(nn.Module):
    r"""A graph convolution along edges that it computes itself.

    .. math:: A_{i\cdot} = \operatorname{softmax}_{j \ne i} \operatorname{MLP}(|x_i - x_j|), \qquad
              x'_i = W \, [x_i, \textstyle\sum_j A_{ij} x_j] + b

    Args:
        features, out: sizes of the nodes, before and after.
        hidden: of the MLP's layers.

    Shapes: nodes ``[G, T, features]`` and which of them are there, bool ``[G, T]``, to ``[G, T, out]``.
    """

    def __init__(self, features: int, out: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.pairs = PairNetwork(features, hidden)
        self.linear = nn.Linear(2 * features, out)

    def forward(self, x: Float[Tensor, "G T F"], there: Bool[Tensor, "G T"]) -> Float[Tensor, "G T out"]:
        others = there.unsqueeze(1) & ~torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
        edges = masked_softmax(self.pairs(x), others)
        return self.linear(torch.cat([x, edges @ x], -1))


class GNN(nn.Module):
    r"""Few-shot learning with a graph neural network (Garcia and Bruna, ICLR 2018), on given features.

    A graph holds all supports of an episode and one query. A node starts as its normalised features,
    embedded linearly, and its label as one of N, uniform for the query; each layer adds to what is there:

    .. math:: x^0_i = [E z_i, \operatorname{onehot}(y_i)], \qquad
              x^{l+1} = [x^l, \operatorname{LeakyReLU}(\operatorname{BN}(\operatorname{GC}^l(x^l)))]

    with :math:`\operatorname{GC}` a `GraphConvolution`. The last one has N outputs: for the query, its
    logits. As labels are one of N, the way is fixed, and that reordered classes have reordered logits is only
    learned in training.

    Args:
        features: size D.
        way: number N of classes.
        embedding: size of the embedded features; default 128.
        width: each layer adds half as many features, by an MLP with layers of twice and once as many;
            default 32 (in the paper 96).
        layers: before the last one; default 2.
        dropout: of the features in training; default 0.5 (the paper has none, as it trains the features too;
            without dropout frozen features of the base classes are memorised).

    Called as all methods are, see `FewShotCall`: support **[B, N, K, D]** and query **[B, M, D]** to logits
    **[B, M, N]**, each query on its own.

    Raises:
        InputError: episodes of another way.

    >>> gnn = GNN(features=16, way=5).eval()
    >>> gnn(torch.randn(2, 5, 1, 16), torch.randn(2, 15, 16)).shape
    torch.Size([2, 15, 5])
    """

    def __init__(
        self,
        features: int,
        way: int,
        embedding: int = 128,
        width: int = 32,
        layers: int = 2,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.way = way
        self.embed = nn.Sequential(nn.Dropout(dropout), nn.Linear(features, embedding))
        sizes = [embedding + way + i * (width // 2) for i in range(layers + 1)]
        hidden = (2 * width, 2 * width, width, width)
        self.layers = nn.ModuleList(GraphConvolution(size, width // 2, hidden) for size in sizes[:-1])
        self.norms = nn.ModuleList(nn.BatchNorm1d(width // 2) for _ in sizes[:-1])
        self.last = GraphConvolution(sizes[-1], way, hidden)

    def forward(
        self,
        support: Float[Tensor, "B N K D"],
        query: Float[Tensor, "B M D"],
        *,
        support_mask: Bool[Tensor, "B N K"] | None = None,
        class_mask: Bool[Tensor, "B N"] | None = None,
        **_: object,
    ) -> Float[Tensor, "B M N"]:
        check_way(support, self.way)
        (b, m), k = query.shape[:2], support.shape[2]
        there = supports_there(support, support_mask, class_mask)
        labels = torch.eye(self.way).to(query).repeat_interleave(k, 0).expand(b, -1, -1)
        unknown = labels.new_full((b, m, self.way), 1 / self.way)
        known = torch.cat([self.embed(unit_variance(support, there)).flatten(1, 2), labels], -1)
        asked = torch.cat([self.embed(unit_variance(query)), unknown], -1)
        nodes = graphs(asked, known)  # of [G, 1 + N·K, F]
        present = graphs(there.new_ones(b, m), there.flatten(1))
        logits = [self._classify(*some) for some in zip(nodes, present, strict=True)]
        return mask_classes(torch.cat(logits).view(b, m, -1), class_mask)

    def _classify(self, x: Float[Tensor, "G T F"], there: Bool[Tensor, "G T"]) -> Float[Tensor, "G N"]:
        """Logits of each graph's first node."""
        for layer, norm in zip(self.layers, self.norms, strict=True):
            new = norm(layer(x, there).flatten(0, 1)).view(*x.shape[:2], -1)
            x = torch.cat([x, leaky_relu(new)], -1)
        return self.last(x, there)[:, 0]


def make_gnn(material: Material) -> GNN:
    """The GNN, trained on the base classes' features."""
    few = max(1, 5 // material.shot)  # queries per class; large graphs cost more and teach more
    return fit_on_features(material, lambda d: GNN(d, material.way), query=few, steps=300, lr=3e-3)
