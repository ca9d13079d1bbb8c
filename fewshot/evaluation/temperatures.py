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
from fewshot.graph.temperature import MODES, Temperature
from fewshot.methods.shared.call import FewShotCall

WAYS, SHOTS = (5, 20), (1, 5)
ASKED = ((15, "balanced"), (15, "dirichlet:2"), (2, "balanced"))  # queries per class, and their shares
ANSWERS, LEAST = 2000, 20  # queries per cell, and episodes at least
GAP = 10.0  # weight of the squared difference of confidence and accuracy, next to the cross-entropy
PULL = 3.0  # towards what the weights were, divided by the number of images
MOST = 2.0  # by which a weight may move; far away all answers are alike, and nothing leads back
FEW, FEW_IMAGES = 5, 40  # classes, and images in all; fewer say too little of others
LEVEL, SHOT, WAY = 0, 1, 5  # places of the weights of `Temperature` that are fitted
APART = 1.5  # times the smallest way or shot; the largest has to be that far off to fit a power of it


class Cell(NamedTuple):
    """Episodes of one way, shot and mode, without evidence, and their logits with some temperature."""

    asked: tuple[Any, ...]  # what the temperature depends on
    temperature: Float[Tensor, "B 1"]
    logits: Float[Tensor, "B M N"]
    labels: Int64[Tensor, "B M"]
    shares: Float[Tensor, "B N"]

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


def accuracy(logits: Float[Tensor, "B M N"], labels: Int64[Tensor, "B M"]) -> Float[Tensor, ""]:
    """The share of right answers, which hardly depends on the temperature."""
    return (logits.argmax(-1) == labels).to(logits.dtype).mean()


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

    They are chosen so that `miscalibration` is smallest, as a mean over ways, shots, numbers of queries and
    their shares, without relations. A graph that was trained on the classes that its backbone saw is too sure
    of others, above all with one shot. The fewer images there are, the closer the weights stay to what they
    were.

    Args:
        graph: its temperatures alone are changed.
        classify: calls that graph, such as `GraphFewShot.classify`.
        data: features of classes that the backbone did not see; nothing is fitted to fewer than 5 of them
            or 40 images.
        ways, shots: of the episodes; the largest possible in place of larger ones. Powers are fitted to those
            that differ by a factor of 1.5.
        answers: about how many queries per cell.
        seed: of the episodes.
    """
    least = int(data.counts.min())
    if data.num_classes < FEW or len(data) < FEW_IMAGES or least < 2:
        return
    ways = sorted({min(way, data.num_classes) for way in ways})
    shots = sorted({min(shot, least - 1) for shot in shots})
    powers = [place for place, sizes in ((SHOT, shots), (WAY, ways)) if sizes[-1] >= APART * sizes[0]]
    with torch.no_grad():
        cells = list(_cells(graph, classify, data, ways, shots, answers, seed))
    for mode in MODES:
        own = [cell for cell in cells if cell.asked[1] == mode]
        _fit(graph.temperature, mode, [LEVEL, *powers], own, PULL / len(data))


def _fit(temperature: Temperature, mode: str, places: list[int], cells: Sequence[Cell], pull: float) -> None:
    """Some weights of one mode, by L-BFGS."""
    weights: Tensor = getattr(temperature, mode)
    first, place = weights.detach().clone(), torch.tensor(places, device=weights.device)
    free = first.new_zeros(len(places)).requires_grad_()
    optimizer = torch.optim.LBFGS([free], max_iter=15, line_search_fn="strong_wolfe")
    right = [accuracy(cell.logits, cell.labels) for cell in cells]

    def moved() -> Tensor:
        return first.index_add(0, place, MOST * free.tanh())

    def loss() -> Tensor:
        optimizer.zero_grad()
        total = pull * free.square().sum()
        total.backward()
        for cell, share in zip(cells, right, strict=True):  # one at a time, which takes less memory
            logits = cell.answers(partial(functional_call, temperature, {mode: moved()}))
            value = miscalibration(logits, cell.labels, share) / len(cells)
            value.backward()
            total = total + value.detach()
        return total.detach()

    with torch.enable_grad():
        optimizer.step(loss)
    with torch.no_grad():
        if moved().isfinite().all():
            weights.copy_(moved())


def _cells(
    graph: ClassGraph,
    classify: FewShotCall,
    data: LabelledSet,
    ways: Sequence[int],
    shots: Sequence[int],
    answers: int,
    seed: int,
) -> Iterator[Cell]:
    """The episodes of all ways, shots and modes, with their answers."""
    heard: list[tuple[tuple[Any, ...], Tensor]] = []
    handle = graph.temperature.register_forward_hook(lambda _, asked, found: heard.append((asked, found)))
    try:
        for way, shot, mode in product(ways, shots, Mode):
            for most, shares in ASKED if mode.joint else ASKED[:1]:
                query = min(most, int(data.counts.min()) - shot)
                episodes = max(LEAST, answers // (way * query))
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
