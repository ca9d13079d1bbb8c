"""What is fitted to probabilities: the temperatures, and "none of these" with half of the classes hidden."""

import random
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from weights.conditions import BOTH, KNOWN, NONE, TRUE, Condition, Drawn, draw
from weights.sources import Source

from fewshot.evaluation.temperatures import Cell, accuracy, miscalibration
from fewshot.graph.class_graph import ClassGraph

RATE = 0.03  # of Adam; it falls to 0
SHOTS, HIDDEN = (1, 2, 5, 10), 5
Losses = Iterator[Tensor]


def fit_temperatures(graph: ClassGraph, drawn: Sequence[Drawn], steps: int, seed: int) -> dict[str, float]:
    """Fit the temperatures alone; returns the loss before and after.

    The loss of a batch of episodes is their cross-entropy, and the square of the difference of their mean
    largest probability and their accuracy: each condition is to be calibrated, not only all of them together.
    First L-BFGS on all batches at once, where the temperature is the last step; then Adam with shares given,
    where an assignment follows it.
    """
    work = [
        (one, mode, given)
        for one in drawn
        for mode in one.condition.modes
        for given in one.condition.given
        if given.kind not in ("shuffled", "partly wrong")
        if given.kind == "none" or one.source.relations
    ]

    def losses(cells: Sequence[tuple]) -> Losses:
        for one, mode, given in cells:
            for out, episode in one.answers(graph, mode, given):
                right = accuracy(out.logits, episode.query_labels)
                yield miscalibration(out.logits, episode.query_labels, right)

    before = _mean(losses(work))
    _fit_at_once(graph, [cell for cell in work if cell[1] != KNOWN])
    _fit(graph, graph.temperature, [cell for cell in work if cell[1] == KNOWN], losses, steps, seed)
    return {"before": round(before, 4), "after": round(_mean(losses(work)), 4)}


def _fit_at_once(graph: ClassGraph, work: Sequence[tuple]) -> None:
    temperature, heard, cells = graph.temperature, [], []
    handle = temperature.register_forward_hook(lambda _, asked, found: heard.append((asked, found)))
    with torch.no_grad():
        for one, mode, given in work:
            for out, episode in one.answers(graph, mode, given):
                cells.append(Cell(*heard.pop(), out.logits, episode.query_labels, episode.proportions))
    handle.remove()
    told = [(cell.labels, accuracy(cell.logits, cell.labels)) for cell in cells]
    optimizer = torch.optim.LBFGS(temperature.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        answers = [cell.answers(lambda asked: temperature(*asked)) for cell in cells]
        losses = [miscalibration(x, *rest) for x, rest in zip(answers, told, strict=True)]
        loss = torch.stack(losses).mean()
        loss.backward()
        return loss

    temperature.requires_grad_(True)
    optimizer.step(closure)


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
