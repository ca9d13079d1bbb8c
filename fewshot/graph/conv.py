"""The message-passing layer between classes."""

import math
import sys
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from fewshot.graph.edge_checks import check_edges, check_nodes, one_each
from fewshot.graph.operator import scalar, shown
from fewshot.graph.vectors import PIECE, joined, masked_softmax, normalize, weighted_sums

with warnings.catch_warnings():
    # torch-geometric 2.8 scripts functions at import, of which torch 2.15 complains.
    warnings.simplefilter("ignore", FutureWarning)
    from torch_geometric import EdgeIndex
    from torch_geometric.nn import MessagePassing
    from torch_geometric.utils import softmax


def _remove_source(module: str) -> None:
    """Remove the file of a module that torch-geometric has written to the folder for temporary files.

    It is generated and imported once per process, and otherwise stays there for good.
    """
    file = Path(getattr(sys.modules.get(module), "__file__", None) or "")
    if file.parent == Path(tempfile.gettempdir()):
        with suppress(OSError):
            file.unlink(missing_ok=True)


def edge_cosines(unit: Float[Tensor, "n D"], edge_index: Int64[Tensor, "2 E"]) -> Float[Tensor, " E"]:
    """Dot products along edges, some of them at a time: no [E, D] is built.

    Args:
        unit: nodes of length 1 **[n, D]**.
        edge_index: int64 **[2, E]**.

    >>> edge_cosines(torch.eye(2), torch.tensor([[0, 0], [0, 1]]))
    tensor([1., 0.])
    """
    edges = max(1, PIECE // unit.shape[1])
    parts = edge_index.split(edges, dim=1)
    return joined(((unit[i] * unit[j]).sum(-1) for i, j in parts), edge_index.shape[1])


class ClassGraphConv(MessagePassing):
    r"""Message passing between classes along their dependencies.

    The dependencies are an attention over the other classes, computed from their relations only, so that it
    works for any D; the messages are the classes' own vectors (after Veličković et al., ICLR 2018, without
    weights on D):

    .. math::
        A_{ij} = \operatorname{softmax}_{j \ne i}(a \, \hat x_i \cdot \hat x_j + w \, \text{prior}_{ij}
                 + v \, \text{present}_j), \qquad m_i = \textstyle\sum_j A_{ij} x_j

    with three scalars, :math:`a, w > 0` and :math:`v`.

    Args:
        sharpness: where :math:`a` starts; default 5.
        prior: where :math:`w` starts; default 1.
        presence: where :math:`v` starts; default 0.5.

    Shapes:
        x floats **[n, D]**; edge_index int64 **[2, E]** (source j, target i), or an `EdgeIndex` that is
        sorted by column; weight, prior floats **[E]** or **[E, 1]**, one per edge; present floats **[n]** or
        **[n, 1]**, one per node; messages **[n, D]**. Nothing is broadcast.

    >>> conv = ClassGraphConv()
    >>> x = torch.eye(3)
    >>> edge_index = torch.tensor([[1, 2, 0], [0, 0, 1]])
    >>> conv(x, edge_index).detach()
    tensor([[0.0000, 0.5000, 0.5000],
            [1.0000, 0.0000, 0.0000],
            [0.0000, 0.0000, 0.0000]])
    """

    SUPPORTS_FUSED_EDGE_INDEX = True  # of torch-geometric: `message_and_aggregate` takes an `EdgeIndex`

    def __init__(self, sharpness: float = 5.0, prior: float = 1.0, presence: float = 0.5) -> None:
        super().__init__(aggr="add")
        _remove_source(f"{type(self).__module__}_{type(self).__name__}_propagate")
        self.start = {
            "log_sharpness": math.log(sharpness),
            "log_prior": math.log(prior),
            "presence": presence,
        }
        self.log_sharpness, self.log_prior, self.presence = (scalar(x) for x in self.start.values())

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Set the scalars to where they started."""
        for name, value in self.start.items():
            getattr(self, name).fill_(value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({shown(self)})"

    def forward(
        self,
        x: Tensor | tuple[Tensor, Tensor],
        edge_index: Tensor,
        weight: Tensor | None = None,
        prior: Tensor | None = None,
        present: Tensor | None = None,
    ) -> Float[Tensor, "targets D"]:
        """Messages along given ``weight``, or along `dependencies` if it is None.

        Args:
            x: the nodes **[n, D]**. With given weights the graph may be bipartite: x is then a pair, the
                nodes that are listened to and those that listen, of which only the number counts.
            edge_index: **[2, E]**, sources and targets.
            weight: of each edge **[E]**; default None: its dependency.
            prior: similarity from outside along each edge **[E]**, without given weights; default None.
            present: of each node **[n]**, 1 if it is known to be there, likewise; default None.

        Raises:
            ValueError: shapes that do not fit, or prior or present with given weights.
        """
        source, target = check_nodes(x, weight)
        check_edges(edge_index, len(source), len(target))
        if weight is None:
            weight = self.dependencies(source, edge_index, prior, present)
        elif prior is not None or present is not None:
            name = "present" if prior is None else "prior"
            raise ValueError(f"{name}: expected None with given weights, which do not depend on it")
        else:
            weight = one_each("weight", weight, edge_index.shape[1], "edge")
        return self.propagate(edge_index, x=source, weight=weight, size=(len(source), len(target)))

    def message(self, x_j: Float[Tensor, "E D"], weight: Float[Tensor, " E"]) -> Float[Tensor, "E D"]:
        return weight[:, None] * x_j

    def message_and_aggregate(
        self, edge_index: EdgeIndex, x: Float[Tensor, "n D"], weight: Float[Tensor, " E"]
    ) -> Float[Tensor, "n D"]:
        """The same sums without the messages [E, D]; for an `EdgeIndex` that is sorted by column."""
        (bounds, source), _ = edge_index.get_csc()
        return weighted_sums(x, source, bounds, weight)

    def dependencies(
        self,
        x: Float[Tensor, "n D"],
        edge_index: Int64[Tensor, "2 E"],
        prior: Tensor | None = None,
        present: Tensor | None = None,
    ) -> Float[Tensor, " E"]:
        """The weight of each edge; those into one node sum to 1. The arguments are those of a call."""
        prior = one_each("prior", prior, edge_index.shape[1], "edge")
        present = one_each("present", present, len(x), "node")
        source, target = edge_index
        cosine = edge_cosines(normalize(x), edge_index)
        scores = self.scores(cosine, prior, None if present is None else present[source])
        return softmax(scores, target, num_nodes=len(x))

    def dense_dependencies(
        self,
        x: Float[Tensor, "B N D"],
        mask: Bool[Tensor, "B N N"],
        prior: Float[Tensor, "B N N"] | None = None,
        present: Float[Tensor, "B N"] | None = None,
    ) -> Float[Tensor, "B N N"]:
        """The same numbers for B complete graphs at once; ``mask[b, i, j]``: class i may listen to j."""
        unit = normalize(x)
        cosine = unit @ unit.transpose(1, 2)
        return masked_softmax(self.scores(cosine, prior, None if present is None else present[:, None]), mask)

    def scores(self, cosine: Tensor, prior: Tensor | None, present: Tensor | None) -> Tensor:
        scores = self.log_sharpness.exp() * cosine
        if prior is not None:
            scores = scores + self.log_prior.exp() * prior
        return scores if present is None else scores + self.presence * present
