"""The class graph: the classes of an episode as nodes of a graph, and the queries classified by it.

It needs torch, torch-geometric and, of this package, the rooms `graph` and `core`; so any model can have it.
"""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from fewshot.graph.checks import check_episodes, check_known, check_there, finite_queries
from fewshot.graph.conv import ClassGraphConv
from fewshot.graph.coupling import Coupling
from fewshot.graph.edges import Edges, Refinement, connect, neighbours_of
from fewshot.graph.facts import QueryFacts
from fewshot.graph.handicap import Handicap, tightness
from fewshot.graph.head import PrototypeHead
from fewshot.graph.joint import Exchange
from fewshot.graph.known_neighbours import KnownNeighbours
from fewshot.graph.looks import look
from fewshot.graph.prepare import prepare
from fewshot.graph.saving import Pretrained
from fewshot.graph.span import shrink_with
from fewshot.graph.temperature import Sharpness, Temperature
from fewshot.graph.trust import LabelTrust
from fewshot.graph.unknown import NoneOfThese
from fewshot.graph.vectors import normalize, products

MOST_STEPS = 1000
WEIGHTS = Path(__file__).parent / "weights" / "class_graph"


class GraphOutput(NamedTuple):
    """What `ClassGraph` returns.

    ``logits`` **[B, M, N]**, -inf for classes that are absent or padding; ``prototypes`` **[B, N, D]**,
    refined, of length 1; ``dependencies`` **[B, N, N]**, row i: how much class i listens to each class j
    (rows sum to 1, diagonal 0), or `Edges` if ``neighbours`` was given. With known classes,
    ``known_dependencies`` **[B, N, C]**, how much each class listens to each known class (rows sum to 1, or
    are 0 for a class without relations), and ``belief`` **[B, N]**, how far its relations were believed, from
    0 to 1. On request, ``unknown`` **[B, M]**, log odds that a query is of none of the classes. ``scale``
    **[B]**: what multiplies the cosines (in joint mode, during the rounds).
    """

    logits: Float[Tensor, "B M N"]
    prototypes: Float[Tensor, "B N D"]
    dependencies: Float[Tensor, "B N N"] | Edges
    known_dependencies: Float[Tensor, "B N C"] | None = None
    belief: Float[Tensor, "B N"] | None = None
    unknown: Float[Tensor, "B M"] | None = None
    scale: Float[Tensor, " B"] | None = None


class ClassGraph(Pretrained):
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
        ValueError: steps that are not a whole number from 1 to 1000.

    >>> graph = ClassGraph.pretrained()
    >>> support, query = torch.randn(2, 5, 1, 64), torch.randn(2, 75, 64)
    >>> out = graph(support, query, joint=True)
    >>> out.logits.shape, out.prototypes.shape, out.dependencies.shape
    (torch.Size([2, 75, 5]), torch.Size([2, 5, 64]), torch.Size([2, 5, 5]))
    """

    def __init__(self, steps: int = 8) -> None:
        super().__init__()
        whole = isinstance(steps, int) and not isinstance(steps, bool)  # what a file says may be anything
        if not whole or not 1 <= steps <= MOST_STEPS:
            raise ValueError(f"steps: expected a whole number from 1 to {MOST_STEPS}, got {steps!r:.60}")
        self.config = {"steps": steps}
        self.neighbours = KnownNeighbours()
        self.facts = QueryFacts()
        self.trust = LabelTrust()
        self.conv = ClassGraphConv()
        self.refine = Refinement()
        self.handicap = Handicap()
        self.head = PrototypeHead(scale=10.0)
        self.sharpness = Sharpness()
        self.temperature = Temperature()
        self.coupling = Coupling()
        self.exchange = Exchange(steps)
        self.none_of_these = NoneOfThese()

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
        known: Tensor | None = None,
        relations: Tensor | None = None,
        known_relations: Tensor | None = None,
        belief: float | None = None,
        unknown: bool = False,
    ) -> GraphOutput:
        """Classify the queries of B episodes.

        Args:
            support: features of the labelled images **[B, N, K, D]**, minus the base mean if known.
            query: features of the images to classify **[B, M, D]**, likewise. All must be finite; their
                lengths from 1e-10 to 1e18, else all classes get the same probability.
            joint: let the queries inform one another (transductive inference); default False.
            support_mask: bool **[B, N, K]**, False if a support is padding; default None: all are there.
            class_mask: bool **[B, N]**, False if a class is padding, as is one without supports.
            query_mask: bool **[B, M]**, False if a query is padding.
            evidence: **[B, N]**, of the query set: 1 the class is there, 0 it is not, NaN unknown (default).
            proportions: **[B, N]**, the classes' shares of the query set, if they are known.
            prior: similarity of classes from outside **[N, N]** or **[B, N, N]**; raises the dependencies.
            neighbours: listen to the k most similar classes only, as sparse edges; or to those of int64
                **[B, N, k]** (-1: none), found once for many calls; default None: to all. A number also
                limits the edges to known classes.
            known: prototypes of known classes **[C, D]**, in the space of the features.
            relations: similarities of the classes to the known ones **[N, C]** or **[B, N, C]**, larger is
                nearer, on any scale; a row of NaN: nothing is known of that class. A class with relations
                needs no supports: then it is a zero-shot class.
            known_relations: the same similarity among the known classes **[C, C]**; says how much such
                relations are worth; default None: not known.
            belief: from 0 (ignore the relations) to 1 (take them as true); default None: judged.
            unknown: also give the log odds that a query is of none of the classes; in joint mode a query
                then counts for the classes only as far as it is of one of them; default False.

        Returns:
            `GraphOutput`.

        Raises:
            ValueError: shapes that do not fit, or numbers that are not finite; names the argument, what was
                expected and what came. On a GPU, where looking at numbers would take time, a query that is
                not finite counts as padding in joint mode.
        """
        masks = (support_mask, class_mask, query_mask)
        check_episodes(support, query, *masks, evidence, proportions, prior, neighbours)
        check_known(support, known, relations, known_relations, belief)
        if known is None:
            check_there(support_mask, class_mask, evidence)
        if joint and query.device.type != "cpu" and not torch.compiler.is_compiling():
            query_mask = finite_queries(query, query_mask)
            masks = (support_mask, class_mask, query_mask)
        kind = self.head.log_scale.dtype
        inputs = prepare(support, query, *masks, kind, unit=joint or unknown)
        support, support_mask, query, seen, length = inputs
        b, n, _, _ = support.shape
        classes = support_mask.any(-1)
        spoken, message, background = None, None, None
        if known is not None and relations is not None:
            spoken = self.neighbours(
                support,
                support_mask,
                torch.ones_like(classes) if class_mask is None else class_mask,
                known,
                relations,
                known_relations,
                belief,
                conv=self.conv,
                most=neighbours if isinstance(neighbours, int) else None,
            )
            classes, message = classes | spoken.there, spoken.message
            background = self.none_of_these.against(query, known, spoken.there) if unknown else None
        back = None
        if joint:  # whose rounds go over all images many times
            support, query, message, back = shrink_with(support, query, message)
        evidence, proportions = (None if x is None else x.to(kind) for x in (evidence, proportions))
        facts = self.facts(classes, evidence, proportions)
        prior = None if prior is None else prior.to(kind).expand(b, n, n)

        near, heard = neighbours_of(neighbours, support, message, classes, facts, prior)
        supports = self.trust(support, support_mask, classes, near, message)
        sums = supports.sums()
        messages, dependencies = connect(self.conv, normalize(sums), classes, facts, prior, heard)
        refine = partial(self.refine, messages=messages)
        tight = tightness(supports)
        prototypes, handicap = normalize(refine(sums)), self.handicap(tight)
        # By columns, as the rounds of the joint mode go on.
        cosines = products(query, prototypes) if joint else query @ prototypes.transpose(1, 2)
        cosines = (cosines if length is None else cosines / length) - handicap[:, None]
        looks = look(supports, tight, facts.alive)
        scale = self.head.log_scale.exp() * self.sharpness(looks)  # [B, 1]
        odds = self.none_of_these(cosines, classes, support_mask, background) if unknown else None
        if joint:
            if odds is not None:
                odds = self.none_of_these.among_queries(odds, query, seen)
                seen = seen * (-odds).sigmoid()[..., None]
            logits, prototypes = self.exchange(
                supports,
                query,
                seen,
                cosines,
                handicap,
                scale[..., None],
                facts,
                looks,
                trust=self.trust,
                refine=refine,
                coupling=self.coupling,
                temperature=self.temperature,
            )
        else:
            scale = scale * self.temperature(looks, "inductive")
            logits = scale[..., None] * cosines + facts.bias[:, None]
        prototypes = prototypes if back is None else back(prototypes)
        # Callers take the best class of each query, which torch does slowly if columns lie side by side.
        logits = logits.contiguous()
        output = GraphOutput(logits, prototypes, dependencies, unknown=odds, scale=scale[:, 0])
        if spoken is None:
            return output
        return output._replace(known_dependencies=spoken.dependencies, belief=spoken.belief)

    @classmethod
    def pretrained(cls) -> "ClassGraph":
        """The graph with the weights that come with the package (trained on train splits only)."""
        return cls.from_pretrained(WEIGHTS)
