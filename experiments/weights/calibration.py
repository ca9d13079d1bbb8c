"""What is fitted by likelihood: the temperatures, and "none of these" with half of the classes hidden."""

import random
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from weights.conditions import BOTH, NONE, TRUE, Condition, Drawn, draw
from weights.sources import Source

from fewshot.graph.class_graph import ClassGraph

RATE = 0.03  # of Adam; it falls to 0
SHOTS, HIDDEN = (1, 2, 5, 10), 5
Losses = Iterator[Tensor]


def fit_temperatures(graph: ClassGraph, drawn: Sequence[Drawn], steps: int, seed: int) -> dict[str, float]:
    """Adam on the temperatures alone; returns the cross-entropy before and after."""
    work = [
        (one, mode, given)
        for one in drawn
        for mode in one.condition.modes
        for given in one.condition.given
        if given.kind not in ("shuffled", "partly wrong")
    ]

    def losses(cells: Sequence[tuple]) -> Losses:
        for one, mode, given in cells:
            for out, episode in one.answers(graph, mode, given):
                yield cross_entropy(out.logits.mT, episode.query_labels)

    return _fit(graph, graph.temperature, work, losses, steps, seed)


def fit_none_of_these(
    graph: ClassGraph, sources: Sequence[Source], episodes: int, steps: int, seed: int
) -> dict[str, float]:
    """Adam on the scalars of "none of these" alone; returns the binary cross-entropy before and after."""
    work = []
    for source in sources:
        for shot in SHOTS:
            given = TRUE[:2] if source.relations else NONE
            condition = Condition(f"{shot}-shot, half hidden", {"shot": shot, "query": 8}, BOTH, given)
            one = draw(source, condition, episodes, seed, unknown=HIDDEN)
            work += [(one, mode, told) for mode in BOTH for told in given]

    def losses(cells: Sequence[tuple]) -> Losses:
        for one, mode, given in cells:
            for out, episode in one.answers(graph, mode, given, unknown=True):
                yield binary_cross_entropy_with_logits(out.unknown, episode.unknown.float())

    return _fit(graph, graph.none_of_these, work, losses, steps, seed)


def _fit(
    graph: ClassGraph,
    part: nn.Module,
    work: list[tuple],
    losses: Callable[[Sequence[tuple]], Losses],
    steps: int,
    seed: int,
) -> dict[str, float]:
    order = random.Random(seed)
    graph.requires_grad_(False)
    part.requires_grad_(True)
    before = _mean(losses(work))
    optimizer = torch.optim.Adam(part.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=max(steps, 1))
    for _ in range(steps):
        optimizer.zero_grad()
        loss = next(losses([order.choice(work)]))
        loss.backward()
        optimizer.step()
        schedule.step()
    graph.requires_grad_(True)
    return {"before": round(before, 4), "after": round(_mean(losses(work)), 4)}


@torch.no_grad()
def _mean(losses: Losses) -> float:
    return torch.stack(list(losses)).mean().item()
