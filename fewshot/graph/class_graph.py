"""The class graph: the classes of an episode as nodes of a learned graph.

It needs torch, torch-geometric and, of this package, `functional` and the head; so any model can have it.
"""

import json
import math
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fewshot.graph.checks import check_episodes
from fewshot.graph.conv import ClassGraphConv
from fewshot.graph.coupling import coupling
from fewshot.graph.facts import Facts
from fewshot.graph.head import PrototypeHead
from fewshot.graph.relations import Edges, nearest_classes
from fewshot.graph.span import shrink
from fewshot.graph.suppression import suppress
from fewshot.graph.trust import Supports, label_posterior, leave_one_out_cosines
from fewshot.graph.vectors import PIECE, class_nodes, masked_softmax, normalize

with (
    warnings.catch_warnings()
):  # torch-geometric 2.8 scripts functions at import, of which torch 2.15 complains
    warnings.simplefilter("ignore", FutureWarning)
    from torch_geometric import EdgeIndex

Messages = Callable[[Tensor], Tensor]  # nodes [B, N, D] to what each hears from the others [B, N, D]
TRUST_ROUNDS = 3  # in which labels and classes are judged by one another
FREE = 3  # rounds of the joint mode before unknown shares are judged
SUPPRESSED = 2  # of the rounds of the joint mode, the last ones, which suppress the spread within classes
WEIGHTS = Path(__file__).parent / "weights" / "class_graph"


class GraphOutput(NamedTuple):
    """What `ClassGraph` returns.

    ``logits`` **[B, M, N]**, -inf for classes that are absent or padding; ``prototypes`` **[B, N, D]**,
    refined, of length 1; ``dependencies`` **[B, N, N]**, row i: how much class i listens to each class j
    (rows sum to 1, diagonal 0), or `Edges` where ``neighbours`` was given.
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
    labels), the dependencies :math:`A` of `ClassGraphConv`, :math:`x_i = \hat t_i` and :math:`c_i` the mean
    cosine between two supports of a class:

    .. math::
        p_i = \widehat{x_i + \gamma \textstyle\sum_j A_{ij} x_j}, \qquad
        \operatorname{logit}_{mi} = \sigma \, (\hat q_m \cdot p_i - a \, c_i
            - b \, x_i \cdot \textstyle\sum_j A_{ij} x_j) + u_i

    Inductive mode stops here; :math:`u` holds what is known of the classes' shares. Joint mode (the field
    calls it *transductive*) goes on for ``steps`` rounds in which queries and classes exchange messages:

    .. math::
        z_{mi} = \operatorname{softmax}_i \operatorname{logit}_{mi}, \qquad
        h_i = \textstyle\sum_m z_{mi} \hat q_m, \qquad
        t_i \leftarrow t_i^{(0)} + \beta h_i, \qquad
        u_i \leftarrow u_i - \eta \log \frac{\sum_m z_{mi} + \epsilon}{M \pi_i + \epsilon}

    Labels are trusted anew by the new sums; a query is drawn to the class that holds its likes, by
    :math:`\lambda \frac NM \hat q_m \cdot \sum_{l \ne m} z_{li} (\hat q_l - \bar q)`; in the last rounds the
    spread within classes is suppressed (`fewshot.functional.suppress`). The last formula couples the classes
    through their shares of the queries: fully where the ``proportions`` :math:`\pi` are known. Where they are
    not, they are judged after a few rounds without coupling, and balanced (:math:`\eta`) or followed by how
    unequal they look. Every coefficient comes from a handful of learned scalars and from similarities, counts
    and shares, never from single features: so one set of weights serves any D, backbone, way and shot.

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
        self.steps = steps
        self.conv = ClassGraphConv()
        self.head = PrototypeHead(scale=10.5)
        # Between classes: how much of its neighbours' vectors a class takes on (below 0: it moves away).
        self.message = _scalar(0.05)
        # Handicaps, in cosines: for a class whose supports agree, and for one among near classes.
        self.tightness = _scalar(0.15)
        self.crowding = _scalar(0.1)
        # Between supports and classes: scale of the cosines, the share of wrong labels that is reckoned with
        # at first, as a logistic function of (1, log shot) centred on 5 shots, and how far that share follows
        # the judgements of each round, as log odds.
        self.log_trust_scale = _scalar(math.log(5.0))
        self.doubt = nn.Parameter(torch.tensor([-1.0, 2.0]))
        self.renewal = _scalar(0.0)
        # Between queries and classes (joint): weight of a query beside a support, scale of the cosines by
        # which labels are judged anew, pull of a query's likes, inverse temperature of the result, strength
        # by which spread is suppressed, strength of the coupling where proportions are known.
        self.log_query_weight = _scalar(math.log(0.3))
        self.log_trust_joint = _scalar(math.log(5.0))
        self.log_kinship = _scalar(math.log(4.0))
        self.log_confidence = nn.Parameter(torch.tensor([math.log(0.5), 0.0]))  # by (1, log shot)
        self.log_suppression = _scalar(math.log(20.0))
        self.log_coupling = _scalar(0.0)
        # Expected queries a class, squared, where half the coupling is left.
        self.log_few = _scalar(math.log(0.5))
        # Unknown proportions: strengths as functions of (1, log inequality, certainty, log way), and
        # a count added to masses, so that they are weak for few queries.
        self.balance = nn.Parameter(torch.tensor([-7.5, -2.5, 0.0, 0.0]))
        self.follow = nn.Parameter(torch.tensor([0.3, 0.15, 0.0, 0.0]))
        self.log_floor = _scalar(math.log(6.0))
        # Evidence: log odds of a class known to be present against one of which nothing is known.
        self.log_presence = _scalar(math.log(0.1))

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
            support: features of the labelled images **[B, N, K, D]**, minus the base mean where known.
            query: features of the images to classify **[B, M, D]**, likewise.
            joint: let the queries inform one another (transductive inference); default False.
            support_mask: bool **[B, N, K]**, False where a support is padding; default None: all are there.
            class_mask: bool **[B, N]**, False where a class is padding, as is one without supports.
            query_mask: bool **[B, M]**, False where a query is padding.
            evidence: **[B, N]**, of the query set: 1 the class is there, 0 it is not, NaN unknown (default).
            proportions: **[B, N]**, the classes' shares of the query set, where they are known.
            prior: similarity of classes from outside **[N, N]** or **[B, N, N]**; raises the dependencies.
            neighbours: listen to the k most similar classes only, as sparse edges; or to those of int64
                **[B, N, k]** (-1: none), found once for many calls; default None: to all.

        Returns:
            `GraphOutput`.

        Raises:
            ValueError: shapes that do not fit; it names the argument, what was expected and what came.
        """
        masks = (support_mask, class_mask, query_mask)
        check_episodes(support, query, *masks, evidence, proportions, prior, neighbours)
        kind = self.message.dtype  # cosines in half precision would be too coarse
        support, query = support.to(kind), query.to(kind)
        evidence = None if evidence is None else evidence.to(kind)
        proportions = None if proportions is None else proportions.to(kind)
        b, n, k, _ = support.shape
        if support_mask is None:
            support_mask = support.new_ones((b, n, k), dtype=torch.bool)
        classes = support_mask.any(-1) if class_mask is None else class_mask & support_mask.any(-1)
        support_mask = support_mask & classes[..., None]
        # Whatever stands in padding, nan too, must not matter.
        support = normalize(support.masked_fill(~support_mask[..., None], 0.0))
        query = normalize(query if query_mask is None else query.masked_fill(~query_mask[..., None], 0.0))
        # The rounds of the joint mode go over all images many times.
        support, query, back = shrink(support, query) if joint else (support, query, lambda x: x)
        facts = self._facts(classes, evidence, proportions)
        prior = None if prior is None else prior.to(support.dtype).expand(b, n, n)

        near = heard = neighbours if isinstance(neighbours, Tensor) else None
        dependencies: Tensor | Edges
        if isinstance(neighbours, int):
            raw, k = normalize(support.sum(2)), min(neighbours, n - 1)
            near = heard = nearest_classes(raw, classes, k, prior)
            if facts.alive is not classes:  # of those that may occur; a wrong label may be of any class
                heard = nearest_classes(raw, facts.alive, k, prior)
        supports = self._trusted(support, support_mask, classes, near)
        sums = supports.sums()
        if heard is None:
            messages, dependencies = self._dense_relations(normalize(sums), classes, facts, prior)
        else:
            messages, dependencies = self._sparse_relations(normalize(sums), classes, facts, prior, heard)

        prototypes, biased = self._refine(sums, messages), self._biased(supports, sums, messages, facts)
        logits = self.head.scores(query, prototypes, biased.bias)
        if joint:
            seen = query.new_ones(query.shape[:2]) if query_mask is None else query_mask.to(query.dtype)
            logits, prototypes = self._exchange(supports, query, seen[..., None], logits, messages, biased)
        return GraphOutput(logits, back(prototypes), dependencies)

    def _biased(
        self, supports: Supports, sums: Float[Tensor, "B N D"], messages: Messages, facts: Facts
    ) -> Facts:
        """Handicap classes that attract too many queries: tight ones, and those in a crowd."""
        nodes = normalize(sums)
        crowd = (nodes * messages(nodes)).sum(-1)  # mean cosine to the classes it listens to
        pull = self.tightness * supports.tightness() + self.crowding * crowd
        return facts._replace(bias=facts.bias - self.head.log_scale.exp() * pull)

    def _exchange(
        self,
        supports: Supports,
        query: Float[Tensor, "B M D"],
        seen: Float[Tensor, "B M 1"],
        logits: Float[Tensor, "B M N"],
        messages: Messages,
        facts: Facts,
    ) -> tuple[Float[Tensor, "B M N"], Float[Tensor, "B N D"]]:
        """The rounds of the joint mode: queries are shared out among the classes, and move them."""
        alive, bias = facts.alive[:, None], facts.bias
        total = seen.sum(1)  # [B, 1]
        expected = facts.shares * total  # queries a class
        # One over the queries that a class has on average [B, 1, 1].
        typical = (facts.alive.sum(-1, keepdim=True) / total.clamp_min(1))[..., None]
        middle = query.sum(1, keepdim=True) / total.clamp_min(1)[..., None]  # [B, 1, D]
        # What a query would tell itself [B, M, 1].
        own = query.norm(dim=-1, keepdim=True) ** 2 - query @ middle.transpose(1, 2)
        prototypes, strengths = normalize(supports.sums()), None
        for step in range(self.steps):
            assigned = masked_softmax(logits, alive) * seen  # [B, M, N]
            if step == FREE:
                strengths = self._strengths(assigned, facts)
            push, tilt = self._couple(assigned.sum(1), expected, facts, strengths)
            bias = bias - push
            assigned = masked_softmax(logits - push[:, None], alive) * seen
            heard = assigned.transpose(1, 2) @ query  # [B, N, D]
            beside = self.log_query_weight.exp() * heard
            supports = self._believe(supports, self.log_trust_joint, beside)
            sums = supports.sums() + beside
            prototypes = self._refine(sums, messages)
            if step >= self.steps - SUPPRESSED:
                prototypes = self._suppress(supports, prototypes, sums, query, assigned, seen)
            # Without what all queries share, by which a class would draw others the more, the more it has.
            likes = heard - assigned.sum(1)[..., None] * middle
            kin = self.log_kinship.exp() * typical * (query @ likes.transpose(1, 2) - own * assigned)
            logits = self.head.scores(query, prototypes, bias + tilt) + kin
        # Queries that have agreed with one another are surer than they are right, most so by few supports.
        shot = supports.mask.sum((1, 2)) / supports.mask.any(-1).sum(-1).clamp_min(1)  # [B]
        confidence = (self.log_confidence[0] + self.log_confidence[1] * shot.clamp_min(1).log()).exp()
        logits = logits.masked_fill(~alive, 0.0)  # no gradient from -inf
        logits = confidence[:, None, None].to(logits.dtype) * logits
        if facts.given:  # what is said in the end has the shares that are known
            mass = (masked_softmax(logits, alive) * seen).sum(1)
            logits = logits - self._couple(mass, expected, facts, None)[0][:, None]
        return logits.masked_fill(~alive, -torch.inf), prototypes

    def _suppress(
        self,
        supports: Supports,
        prototypes: Float[Tensor, "B N D"],
        sums: Float[Tensor, "B N D"],
        query: Float[Tensor, "B M D"],
        assigned: Float[Tensor, "B M N"],
        seen: Float[Tensor, "B M 1"],
    ) -> Float[Tensor, "B N D"]:
        """Prototypes turned away from the directions in which the images of a class differ."""
        weight = supports.mask.sum(-1) + self.log_query_weight.exp() * assigned.sum(1)
        means = sums / weight[..., None].clamp_min(1e-6)
        of_supports = ((supports.vectors - means[:, :, None]) * supports.mask[..., None]).flatten(1, 2)
        count = supports.mask.sum((1, 2)).view(-1, 1, 1) + seen.sum(1, keepdim=True)
        (_, n, d), images = means.shape, of_supports.shape[1] + query.shape[1]
        # Where the images or classes are many, the covariance [B, D, D] itself makes less work. But what is
        # traced must not depend on sizes.
        if torch.compiler.is_compiling() or 6 * n * images <= (images + 3 * n) * d:

            def spread(x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
                # Residuals of queries [B, M, D] are never made: q - Σ_i z_i mean_i.
                along = x @ query.transpose(1, 2) - (x @ means.transpose(1, 2)) @ assigned.transpose(1, 2)
                back = along @ query - (along @ assigned) @ means
                return (back + (x @ of_supports.transpose(1, 2)) @ of_supports) / count

        else:
            residuals = torch.cat([of_supports, query - assigned @ means], dim=1)
            covariance = residuals.transpose(1, 2) @ residuals / count

            def spread(x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
                return x @ covariance

        return normalize(suppress(prototypes, spread, self.log_suppression.exp()))

    def _facts(
        self,
        classes: Bool[Tensor, "B N"],
        evidence: Float[Tensor, "B N"] | None,
        proportions: Float[Tensor, "B N"] | None,
    ) -> Facts:
        alive, present = classes, torch.zeros_like(classes)
        if evidence is not None:
            alive, present = alive & (evidence != 0), classes & (evidence == 1)
        if proportions is not None:
            alive = alive & (proportions > 0)
        shares = alive.to(self.message.dtype) if proportions is None else proportions * alive
        shares = shares / shares.sum(-1, keepdim=True).clamp_min(1e-12)
        there = present.to(shares.dtype)
        # Log odds against equal shares: 0 for all where nothing is known.
        bias = self.log_presence.exp() * there + (shares * alive.sum(-1, keepdim=True)).clamp_min(1e-6).log()
        return Facts(alive, there, shares, bias.masked_fill(~alive, -torch.inf), proportions is not None)

    def _trusted(
        self,
        support: Float[Tensor, "B N K D"],
        support_mask: Bool[Tensor, "B N K"],
        classes: Bool[Tensor, "B N"],
        near: Int64[Tensor, "B N k"] | None,
    ) -> Supports:
        """Judge the labels; a support whose label is doubtful counts for other classes too."""
        b, n, k, _ = support.shape
        if near is None:
            candidates = None
            own = torch.eye(n, dtype=torch.bool, device=support.device)[None, :, None]  # [1, N, 1, N]
            rivals = classes[:, None, None] & ~own  # [B, N, 1, N]
        else:
            itself = torch.arange(n, device=support.device).expand(b, n)[..., None]
            candidates = torch.cat([itself, near.clamp_min(0)], dim=-1)  # [B, N, 1 + k]
            own = (torch.arange(candidates.shape[-1], device=support.device) == 0)[None, None, None]
            there = _real(near, classes)
            rivals = torch.cat([torch.zeros_like(there[..., :1]), there], dim=-1)[:, :, None]
        judged = support_mask & (support_mask.sum(-1) > 1)[..., None]
        supports = Supports(support, support_mask, candidates, own, rivals, judged, None, None)
        if k == 1 or n == 1:  # nothing can speak against the only support of a class, or the only class
            return supports
        certain = (own & support_mask[..., None]).to(support.dtype)  # [B, N, K, C]
        supports = supports._replace(doubt=self._doubt(judged), assignments=certain)
        for _ in range(TRUST_ROUNDS):
            supports = self._believe(supports, self.log_trust_scale)
        return supports

    def _believe(
        self, supports: Supports, log_scale: Tensor, beside: Float[Tensor, "B N D"] | None = None
    ) -> Supports:
        """Judge the labels anew, by the classes as they are now believed to be."""
        vectors, mask, candidates, own, rivals, judged, doubt, assignments = supports
        if doubt is None or assignments is None:
            return supports
        cosines = leave_one_out_cosines(vectors, assignments, candidates, own, beside)
        posterior = label_posterior(log_scale.exp() * cosines, doubt, own, rivals)
        # The share of wrong labels, as the judgements have it: a step of expectation-maximisation.
        wrong = judged * (1 - (posterior * own).sum(-1))
        found = wrong.sum((1, 2)) / judged.sum((1, 2)).clamp_min(1)
        doubt = torch.lerp(doubt, found, self.renewal.sigmoid())
        certain = (own & mask[..., None]).to(posterior.dtype)
        assignments = torch.where(judged[..., None], posterior, certain)
        return supports._replace(doubt=doubt, assignments=assignments)

    def _doubt(self, judged: Bool[Tensor, "B N K"]) -> Float[Tensor, " B"]:
        """The share of wrong labels to reckon with in each episode before any is judged."""
        shot = judged.sum((1, 2)).to(self.doubt.dtype) / judged.any(-1).sum(-1).clamp_min(1)
        # Few supports of a class cannot judge each other; five can.
        return (self.doubt[0] + self.doubt[1] * (shot.clamp(2, 5) / 5).log()).sigmoid()

    def _dense_relations(
        self,
        x: Float[Tensor, "B N D"],
        classes: Bool[Tensor, "B N"],
        facts: Facts,
        prior: Float[Tensor, "B N N"] | None,
    ) -> tuple[Messages, Float[Tensor, "B N N"]]:
        others = ~torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
        mask = classes[:, :, None] & facts.alive[:, None, :] & others
        weight = self.conv.dense_dependencies(x, mask, prior, facts.present)
        return lambda nodes: weight @ nodes, weight

    def _sparse_relations(
        self,
        x: Float[Tensor, "B N D"],
        classes: Bool[Tensor, "B N"],
        facts: Facts,
        prior: Float[Tensor, "B N N"] | None,
        near: Int64[Tensor, "B N k"],
    ) -> tuple[Messages, Edges]:
        b, n, d = x.shape
        real = classes[..., None] & _real(near, facts.alive)
        target = torch.arange(b * n, device=x.device).view(b, n, 1).expand_as(near)
        edge_index = torch.stack([class_nodes(near).view_as(near)[real], target[real]])
        prior_edge = None if prior is None else prior.gather(2, near.clamp_min(0))[real]
        weight = self.conv.dependencies(x.flatten(0, 1), edge_index, prior_edge, facts.present.flatten())
        along = edge_index
        if len(weight) * d > PIECE:  # too many messages to hold at once
            along = EdgeIndex(edge_index, sparse_size=(b * n, b * n), sort_order="col")
        edges = Edges(edge_index, weight)
        return lambda nodes: self.conv(nodes.flatten(0, 1), along, weight).view(b, n, d), edges

    def _refine(self, sums: Float[Tensor, "B N D"], messages: Messages) -> Float[Tensor, "B N D"]:
        nodes = normalize(sums)
        return normalize(nodes + self.message * messages(nodes))

    def _strengths(
        self, assigned: Float[Tensor, "B M N"], facts: Facts
    ) -> tuple[Float[Tensor, "B 1"], Float[Tensor, "B 1"]]:
        """How far to balance the classes' masses, and how far to follow them: by how unequal they look.

        Judged once, by masses that nothing has balanced yet.
        """
        mass = assigned.sum(1)
        total = mass.sum(-1, keepdim=True).clamp_min(1e-12)
        way = facts.alive.sum(-1, keepdim=True).clamp_min(1).to(mass.dtype)
        inequality = ((mass / total - facts.shares) ** 2).sum(-1, keepdim=True) * way
        certainty = (assigned**2).sum((1, 2))[:, None] / total
        looks = torch.stack(
            [torch.ones_like(way), (inequality + 0.01).log(), certainty, (way / 5).log()], dim=-1
        )
        return (looks @ self.balance).sigmoid(), (looks @ self.follow).tanh()

    def _couple(
        self,
        mass: Float[Tensor, "B N"],
        expected: Float[Tensor, "B N"],
        facts: Facts,
        strengths: tuple[Tensor, Tensor] | None,
    ) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B N"]]:
        """What to take off each class's logits for good, and what to add to them in this round only.

        The first moves the classes' masses of queries towards the expected ones. Where these are unknown, the
        second, if above 0, moves them on to where they tend, as a prior estimated from the queries does.
        """
        enough = expected**2 / (expected**2 + self.log_few.exp())
        if facts.given:
            push = self.log_coupling.exp() * enough * coupling(mass, expected, mass.new_full((), 1e-3))
            return push, torch.zeros_like(push)
        if strengths is None:
            return torch.zeros_like(mass), torch.zeros_like(mass)
        excess = enough * coupling(mass, expected, self.log_floor.exp())
        return strengths[0] * excess, strengths[1] * excess

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``config.json`` and ``model.safetensors`` into a folder, each atomically."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        state = {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}
        for name, write in (
            ("model.safetensors", lambda path: save_file(state, path)),
            ("config.json", lambda path: path.write_text(json.dumps(self.config) + "\n")),
        ):
            temporary = folder / f".{name}.{os.getpid()}.tmp"
            write(temporary)
            os.replace(temporary, folder / name)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "ClassGraph":
        """Read what `save_pretrained` wrote.

        Raises:
            ValueError: the folder does not hold a class graph.

        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> ClassGraph(steps=5).save_pretrained(folder)
        >>> ClassGraph.from_pretrained(folder).steps
        5
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


def _real(near: Int64[Tensor, "B N k"], mask: Bool[Tensor, "B N"]) -> Bool[Tensor, "B N k"]:
    """Which neighbours there are (-1 is none), of the classes of the mask."""
    return (near >= 0) & mask.gather(1, near.clamp_min(0).flatten(1)).view_as(near)


def _scalar(value: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(value))
