"""The class graph's temperatures, fitted on classes not seen in training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from fewshot.core.modes import Mode
from fewshot.data.labelled import LabelledSet
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.scores import in_mode
from fewshot.graph.class_graph import ClassGraph
from fewshot.graph.coupling import assign, enough
from fewshot.graph.temperature import MODES, PLAIN, Temperature
from fewshot.methods.shared.call import FewShotCall

WAYS, SHOTS, QUERY = (5, 20), (1, 5), 15
SHARES = ("balanced", "dirichlet:2")  # of the queries; in inductive mode the first one alone
ANSWERS, LEAST = 2000, 20  # queries per cell, and episodes at least
GAP = 10.0  # weight of the squared difference of confidence and accuracy, next to the cross-entropy
PULL = 1e-3  # towards what the weights were
MOST = 2.0  # by which a weight may move; far away all answers are alike, and nothing leads back
FEW = 5  # classes; fewer say too little of others


class Cell(NamedTuple):
    """Episodes of one way, shot and mode, and their logits with some temperature."""

    asked: tuple[Any, ...]  # what the temperature depends on
    temperature: Float[Tensor, "B 1"]
    logits: Float[Tensor, "B M N"]
    labels: Int64[Tensor, "B M"]
    shares: Float[Tensor, "B N"]

    @property
    def accuracy(self) -> Float[Tensor, ""]:
        """The share of right answers, which hardly depends on the temperature."""
        return (self.logits.argmax(-1) == self.labels).to(self.logits.dtype).mean()

    def answers(self, temperature: Callable[[tuple[Any, ...]], Tensor]) -> Float[Tensor, "B M N"]:
        """The logits with another temperature, with which shares that are given hold again."""
        factor = (temperature(self.asked) / self.temperature)[..., None]
        if self.asked[1] != "given":
            return factor * self.logits
        alive = self.shares > 0
        absent = ~alive[:, None]
        logits = factor * self.logits.masked_fill(absent, 0.0)
        one, total = torch.ones_like(logits[..., :1]), logits.new_full((len(logits), 1), logits.shape[1])
        assigned = assign(logits, alive, one, self.shares * total, enough(total, self.asked[0].way))
        return assigned.masked_fill(absent, -torch.inf)


def miscalibration(
    logits: Float[Tensor, "B M N"], labels: Int64[Tensor, "B M"], accuracy: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """Cross-entropy, and the squared difference of confidence and accuracy."""
    gap = logits.softmax(-1).amax(-1).mean() - accuracy
    return cross_entropy(logits.mT, labels) + GAP * gap.square()


def fit_temperatures(
    graph: ClassGraph,
    classify: FewShotCall,
    data: LabelledSet,
    ways: Sequence[int] = WAYS,
    shots: Sequence[int] = SHOTS,
    answers: int = ANSWERS,
    seed: int = 0,
) -> None:
    """Fit a graph's temperatures in place: in each mode, the level and its powers of shot and way.

    They are chosen so that `miscalibration` is smallest, as a mean over modes, ways and shots. A graph that
    was trained on the classes that its backbone saw is too sure of others, above all with one shot.

    Args:
        graph: its temperatures alone are changed.
        classify: calls that graph, such as `GraphFewShot.classify`.
        data: features of classes that the backbone did not see; nothing is fitted to fewer than 5 of them.
        ways, shots: those for which there are classes and images.
        answers: about how many queries per way, shot and mode.
        seed: of the episodes.
    """
    if data.num_classes < FEW or data.counts.min() < 2:
        return
    cells = list(_cells(graph, classify, data, ways, shots, answers, seed))
    for mode in MODES:
        _fit(graph.temperature, mode, [cell for cell in cells if cell.asked[1] == mode])


def _fit(temperature: Temperature, mode: str, cells: Sequence[Cell]) -> None:
    """The temperature of one mode, by L-BFGS."""
    weights: Tensor = getattr(temperature, mode)
    first, place = weights.detach().clone(), torch.tensor(PLAIN, device=weights.device)
    free = first.new_zeros(len(PLAIN)).requires_grad_()
    optimizer = torch.optim.LBFGS([free], max_iter=15, line_search_fn="strong_wolfe")

    def moved() -> Tensor:
        return first.index_add(0, place, MOST * free.tanh())

    def loss() -> Tensor:
        optimizer.zero_grad()
        now = {mode: moved()}
        logits = [cell.answers(partial(functional_call, temperature, now)) for cell in cells]
        losses = [miscalibration(x, c.labels, c.accuracy) for x, c in zip(logits, cells, strict=True)]
        value = torch.stack(losses).mean() + PULL * free.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    with torch.no_grad():
        if moved().isfinite().all():
            weights.copy_(moved())


@torch.no_grad()
def _cells(
    graph: ClassGraph,
    classify: FewShotCall,
    data: LabelledSet,
    ways: Sequence[int],
    shots: Sequence[int],
    answers: int,
    seed: int,
) -> Iterator[Cell]:
    """The episodes of all ways, shots and modes, answered without a temperature."""
    least = int(data.counts.min())
    sizes = product(
        sorted({min(way, data.num_classes) for way in ways}), sorted({min(shot, least - 1) for shot in shots})
    )
    heard: list[tuple[tuple[Any, ...], Tensor]] = []
    handle = graph.temperature.register_forward_hook(lambda _, asked, found: heard.append((asked, found)))
    try:
        for (way, shot), mode in product(sizes, Mode):
            query = min(QUERY, least - shot)
            episodes = max(LEAST, answers // (way * query))
            for shares in SHARES if mode.joint else SHARES[:1]:
                sampler = EpisodeSampler(
                    data, way, shot, query, batch=episodes, episodes=episodes, seed=seed, queries=shares
                )
                (episode,) = sampler
                logits = in_mode(classify, mode)(episode)
                labels, proportions = (
                    x.to(logits.device) for x in (episode.query_labels, episode.proportions)
                )
                yield Cell(*heard.pop(), logits, labels, proportions)
    finally:
        handle.remove()
