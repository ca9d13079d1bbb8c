"""The class graph: the classes of an episode as nodes of a graph, and the queries classified by it.

It needs torch, torch-geometric and, of this package, the rooms `graph` and `core`; so any model can have it.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fewshot.core.files import replacing
from fewshot.graph.checks import check_episodes
from fewshot.graph.conv import ClassGraphConv
from fewshot.graph.coupling import Coupling
from fewshot.graph.edges import Edges, Refinement, dense_edges, nearest_classes, sparse_edges
from fewshot.graph.facts import QueryFacts
from fewshot.graph.handicap import Handicap
from fewshot.graph.head import PrototypeHead
from fewshot.graph.joint import Exchange
from fewshot.graph.span import shrink
from fewshot.graph.trust import LabelTrust
from fewshot.graph.vectors import normalize

WEIGHTS = Path(__file__).parent / "weights" / "class_graph"


class GraphOutput(NamedTuple):
    """What `ClassGraph` returns.

    ``logits`` **[B, M, N]**, -inf for classes that are absent or padding; ``prototypes`` **[B, N, D]**,
    refined, of length 1; ``dependencies`` **[B, N, N]**, row i: how much class i listens to each class j
    (rows sum to 1, diagonal 0), or `Edges` if ``neighbours`` was given.
    """

    logits: Float[Tensor, "B M N"]
    prototypes: Float[Tensor, "B N D"]
    dependencies: Float[Tensor, "B N N"] | Edges


class ClassGraph(nn.Module):
    r"""Refine the prototypes of an episode's classes by message passing, and classify the queries by them.

    ::

        support ─► label trust ─► class sums ─► prototypes ──┬─► dependencies A (between classes)
                                      ▲                      ▼
        query ────────────────────────┴── soft       messages along A ─► PrototypeHead ─► logits
                (joint only)              assignments ◄───────────────────────┘

    All vectors are normalised first. With class sums :math:`t_i` (supports weighted by the trust in their
    labels, `LabelTrust`), the dependencies :math:`A` of `ClassGraphConv`, :math:`x_i = \hat t_i`, and the
    `Handicap` :math:`h_i` of tight classes:

    .. math::
        p_i = \widehat{x_i + \gamma \textstyle\sum_j A_{ij} x_j}, \qquad
        \operatorname{logit}_{mi} = \sigma \, (\hat q_m \cdot p_i - h_i) + b_i

    Inductive mode ends here; :math:`b` holds what is known of the classes' shares (`QueryFacts`). Joint mode
    (the field calls it *transductive*) continues for ``steps`` rounds in which queries and classes exchange
    messages (`Exchange`), coupled through the classes' shares of the queries (`Coupling`).

    Every coefficient comes from a handful of scalars and from similarities, counts and shares, never from
    single features: so one set of weights serves any D, backbone, way and shot.

    Args:
        steps: rounds of the joint mode; default 8.

    Raises:
        ValueError: steps that are not a whole number from 1 up.

    >>> graph = ClassGraph.pretrained()
    >>> support, query = torch.randn(2, 5, 1, 64), torch.randn(2, 75, 64)
    >>> out = graph(support, query, joint=True)
    >>> out.logits.shape, out.prototypes.shape, out.dependencies.shape
    (torch.Size([2, 75, 5]), torch.Size([2, 5, 64]), torch.Size([2, 5, 5]))
    """

    def __init__(self, steps: int = 8) -> None:
        super().__init__()
        if not isinstance(steps, int) or steps < 1:  # what a file says may be anything
            raise ValueError(f"steps: expected a whole number from 1 up, got {steps!r}")
        self.config: dict[str, Any] = {"steps": steps}
        self.facts = QueryFacts()
        self.trust = LabelTrust()
        self.conv = ClassGraphConv()
        self.refine = Refinement()
        self.handicap = Handicap()
        self.head = PrototypeHead(scale=10.5)
        self.coupling = Coupling()
        self.exchange = Exchange(steps)

    def forward(
        self,
        support: Tensor,
        query: Tensor,
        *,
        joint: bool = False,
        support_mask: Tensor | None = None,
        class_mask: Tensor | None = None,
        query_mask: Tensor | None = None,
        evidence: Tensor | None = None,
        proportions: Tensor | None = None,
        prior: Tensor | None = None,
        neighbours: int | Tensor | None = None,
    ) -> GraphOutput:
        """Classify the queries of B episodes.

        Args:
            support: features of the labelled images **[B, N, K, D]**, minus the base mean if known.
            query: features of the images to classify **[B, M, D]**, likewise.
            joint: let the queries inform one another (transductive inference); default False.
            support_mask: bool **[B, N, K]**, False if a support is padding; default None: all are there.
            class_mask: bool **[B, N]**, False if a class is padding, as is one without supports.
            query_mask: bool **[B, M]**, False if a query is padding.
            evidence: **[B, N]**, of the query set: 1 the class is there, 0 it is not, NaN unknown (default).
            proportions: **[B, N]**, the classes' shares of the query set, if they are known.
            prior: similarity of classes from outside **[N, N]** or **[B, N, N]**; raises the dependencies.
            neighbours: listen to the k most similar classes only, as sparse edges; or to those of int64
                **[B, N, k]** (-1: none), found once for many calls; default None: to all.

        Returns:
            `GraphOutput`.

        Raises:
            ValueError: shapes that do not fit; names the argument, what was expected and what came.
        """
        masks = (support_mask, class_mask, query_mask)
        check_episodes(support, query, *masks, evidence, proportions, prior, neighbours)
        kind = self.head.log_scale.dtype  # cosines in half precision would be too coarse
        support, query = support.to(kind), query.to(kind)
        b, n, k, _ = support.shape
        if support_mask is None:
            support_mask = support.new_ones((b, n, k), dtype=torch.bool)
        classes = support_mask.any(-1) if class_mask is None else class_mask & support_mask.any(-1)
        support_mask = support_mask & classes[..., None]
        # Whatever padding holds, even nan, must not matter.
        support = normalize(support.masked_fill(~support_mask[..., None], 0.0))
        query = normalize(query if query_mask is None else query.masked_fill(~query_mask[..., None], 0.0))
        # The rounds of the joint mode go over all images many times.
        support, query, back = shrink(support, query) if joint else (support, query, lambda x: x)
        evidence, proportions = (None if x is None else x.to(kind) for x in (evidence, proportions))
        facts = self.facts(classes, evidence, proportions)
        prior = None if prior is None else prior.to(kind).expand(b, n, n)

        near = heard = neighbours if isinstance(neighbours, Tensor) else None
        if isinstance(neighbours, int):
            raw, most = normalize(support.sum(2)), min(neighbours, n - 1)
            near = heard = nearest_classes(raw, classes, most, prior)
            if facts.alive is not classes:  # of those that may occur; a wrong label may be of any class
                heard = nearest_classes(raw, facts.alive, most, prior)
        supports = self.trust(support, support_mask, classes, near)
        sums = supports.sums()
        edges = (self.conv, normalize(sums), classes, facts, prior)
        dependencies: Tensor | Edges
        messages, dependencies = dense_edges(*edges) if heard is None else sparse_edges(*edges, heard)

        prototypes = self.refine(sums, messages)
        scale = self.head.log_scale.exp()
        facts = facts._replace(bias=facts.bias - scale * self.handicap(supports))
        logits = self.head.scores(query, prototypes, facts.bias)
        if joint:
            seen = query.new_ones(query.shape[:2]) if query_mask is None else query_mask.to(kind)
            logits, prototypes = self.exchange(
                supports,
                query,
                seen[..., None],
                logits,
                facts,
                trust=self.trust,
                refine=lambda sums: self.refine(sums, messages),
                coupling=self.coupling,
                head=self.head,
            )
        return GraphOutput(logits, back(prototypes), dependencies)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``config.json`` and ``model.safetensors`` into a folder, each atomically."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        state = {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}
        for name, write in (
            ("model.safetensors", lambda path: save_file(state, path)),
            ("config.json", lambda path: path.write_text(json.dumps(self.config) + "\n")),
        ):
            with replacing(folder / name) as temporary:
                write(temporary)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "ClassGraph":
        """Read what `save_pretrained` wrote.

        Raises:
            ValueError: the folder does not hold a class graph.

        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> ClassGraph(steps=5).save_pretrained(folder)
        >>> ClassGraph.from_pretrained(folder).config
        {'steps': 5}
        """
        folder = Path(folder)
        try:
            graph = cls(**json.loads((folder / "config.json").read_text()))
            graph.load_state_dict(load_file(folder / "model.safetensors"))
        except Exception as error:  # a missing file, JSON, safetensors and torch each raise their own
            reason = " ".join(str(error).split()[:30])
            raise ValueError(
                f"folder: expected config.json and model.safetensors of a class graph in {folder}: {reason}"
            ) from error
        return graph.eval()

    @classmethod
    def pretrained(cls) -> "ClassGraph":
        """The graph with the weights that come with the package (trained on train splits only)."""
        return cls.from_pretrained(WEIGHTS)
