"""The conditions under which the graph's weights are judged: episodes, modes and relations."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor
from weights.sources import Source

from fewshot.episodes.episode import Episode
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.scores import MODES, Predict, as_answer, as_predict
from fewshot.graph.class_graph import ClassGraph, GraphOutput
from fewshot.graph.vectors import normalize
from fewshot.methods.prototypes import prototypes

INDUCTIVE, JOINT, KNOWN = MODES
ALL, BOTH = tuple(MODES), (INDUCTIVE, JOINT)
FALSE = ("shuffled",)  # relations that must not cost anything
AVERAGED = 8  # images whose mean is one support, in such conditions


class Given(NamedTuple):
    """Relations and how far they are believed (None: judged); ``among``: also those among known classes."""

    kind: str = "none"
    belief: float | None = None
    among: bool = False


NONE = (Given(),)
TRUE = (*NONE, Given("true", 1.0), Given("true"))
FEW = (*TRUE, Given("shuffled"))
MANY = (
    *FEW,
    Given("coarse", 1.0),
    Given("partly wrong"),
    Given("true", among=True),
    Given("shuffled", among=True),
    Given("looks", 1.0),
)


@dataclass(frozen=True)
class Condition:
    """Options of the episodes, what the graph is run with, and how much its accuracy counts."""

    name: str
    options: dict[str, Any]
    modes: tuple[str, ...] = ALL
    given: tuple[Given, ...] = NONE
    weight: float = 1.0
    averaged: bool = False


DIRICHLET = {"queries": "dirichlet:2"}
NOISE, HARD = {"label_noise": 0.4}, {"classes": "hard"}
PHOTOGRAPHS = (
    Condition("5-way 1-shot", {"shot": 1}, ALL, MANY, 2.0),
    Condition("5-way 5-shot", {"shot": 5}, ALL, FEW, 2.0),
    Condition("5-way 10-shot, 5 queries", {"shot": 10, "query": 5}, ALL, TRUE, 0.5),
    Condition("5-way 1-shot, 1 query", {"shot": 1, "query": 1}),
    Condition("5-way 5-shot, 3 queries", {"shot": 5, "query": 3}),
    Condition("5-way 1-shot, Dirichlet(2)", {"shot": 1, **DIRICHLET}, BOTH, FEW, 1.5),
    Condition("5-way 5-shot, Dirichlet(2)", {"shot": 5, **DIRICHLET}, BOTH, NONE, 1.5),
    Condition("5-way 5-shot, Dirichlet(1)", {"shot": 5, "queries": "dirichlet:1"}, BOTH),
    Condition("5-way 5-shot, 40 % wrong labels", {"shot": 5, **NOISE}, ALL, FEW, 1.5),
    Condition("5-way 1-shot, hard", {"shot": 1, **HARD}, BOTH, FEW),
    Condition("5-way 5-shot, hard", {"shot": 5, **HARD}, BOTH),
    Condition("20-way 1-shot, 3 queries", {"way": 20, "shot": 1, "query": 3}, ALL, FEW),
    Condition("20-way 5-shot, 1 query", {"way": 20, "shot": 5, "query": 1}),
    Condition("5-way, the mean of 8 images", {"shot": 1}, BOTH, TRUE, 1.0, averaged=True),
)
LETTERS = (
    Condition("5-way 1-shot", {"shot": 1}, weight=0.3),
    Condition("5-way 1-shot, Dirichlet(2)", {"shot": 1, "query": 12, **DIRICHLET}, BOTH, weight=0.3),
    Condition("5-way 5-shot, 40 % wrong labels", {"shot": 5, **NOISE}, BOTH, weight=0.3),
    Condition("20-way 1-shot, 1 query", {"way": 20, "shot": 1, "query": 1}, weight=0.3),
    Condition("20-way 5-shot, 3 queries", {"way": 20, "shot": 5, "query": 3}, weight=0.3),
)
CLUSTERS = (
    Condition("20-way 5-shot, 5 queries", {"way": 20, "shot": 5, "query": 5}, weight=0.1),
    Condition("100-way 1-shot, 1 query", {"way": 100, "shot": 1, "query": 1}, weight=0.1),
    Condition("100-way 5-shot, 3 queries", {"way": 100, "shot": 5, "query": 3}, weight=0.1),
)
# Those in which probabilities are to be right, one by one; relations for photographs only.
CALIBRATED = tuple(
    Condition(f"{way}-way {shot}-shot, {n} queries", {"way": way, "shot": shot, "query": n}, given=TRUE)
    for way, shot, n in product((5, 20), (1, 5), (1, 4, 15))
)
CONDITIONS = {"photographs": PHOTOGRAPHS, "letters": LETTERS, "clusters": CLUSTERS}


@dataclass(frozen=True)
class Drawn:
    """The episodes of a condition from one source, and the accuracy of prototypes on them, in percent."""

    condition: Condition
    source: Source
    episodes: list[Episode]  # without items, which are gathered when they are needed
    plain: float = field(default=float("nan"))

    def gathered(self, episode: Episode, items: Tensor) -> Episode:
        """With the items; the supports may be means of several images."""
        support, query = items[episode.support_index], items[episode.query_index]
        if self.condition.averaged:
            support = normalize(support).unflatten(2, (-1, AVERAGED)).mean(3)
            first = episode.support_index[..., ::AVERAGED]
            episode = replace(episode, support_index=first, support_labels=None)
        return replace(episode, support=support, query=query)

    def answers(self, graph: ClassGraph, mode: str, given: Given, **options: Any) -> Iterator[tuple]:
        """The graph's output on each batch, and the batch."""
        joint, known = MODES[mode]
        relations = None if given.kind == "none" else self.source.relations[given.kind]
        if given.among and relations is not None:
            options["known_relations"] = relations.among
        answer = as_answer(
            graph, joint=joint, know_proportions=known, relations=relations, belief=given.belief, **options
        )
        for episode in self.episodes:
            whole = self.gathered(episode, self.source.data.items)
            out: GraphOutput = answer(whole)
            yield out, whole

    @torch.no_grad()
    def accuracy(self, graph: ClassGraph, mode: str, given: Given) -> float:
        """In percent."""
        return _percent((out.logits, episode) for out, episode in self.answers(graph, mode, given))


def draw(source: Source, condition: Condition, episodes: int, seed: int, **further: Any) -> Drawn:
    """Draw about as many queries as ``episodes`` 5-way episodes of 15 queries per class have."""
    options = {"way": 5, "query": 15, "seed": seed, **condition.options, **further}
    options["way"] = min(options["way"], source.data.num_classes)
    queries = options["way"] * options["query"]
    options["episodes"] = min(max(75 * episodes // queries, 4), 4 * episodes)
    options["batch"] = max(1, 6000 // queries)
    if condition.averaged:
        options["shot"] = AVERAGED * options["shot"]
    if options.get("classes") == "hard":
        options["similarity"] = source.similarity
    drawn = Drawn(condition, source, list(EpisodeSampler(source.data, gather=False, **options)))
    if further.get("unknown"):
        return drawn
    predict: Predict = as_predict(prototypes)
    whole = (drawn.gathered(episode, source.plain.items) for episode in drawn.episodes)
    return replace(drawn, plain=_percent((predict(episode), episode) for episode in whole))


def _percent(answers: Iterable[tuple[Tensor, Episode]]) -> float:
    hits = [(logits.argmax(-1) == episode.query_labels).float().mean(1) for logits, episode in answers]
    return 100 * torch.cat(hits).mean().item()
