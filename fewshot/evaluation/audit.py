"""The protocol audit: does a method's result depend on what it must not see?

A result that moves with the order of the queries, with the other episodes of a batch or, in inductive mode,
with the other queries has read something that a user's queries will not tell.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.data.labelled import LabelledSet
from fewshot.episodes.episode import Episode
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.scores import MODES, Predict, as_predict

TOLERANCE = 1e-3  # in probability; arithmetic in another order stays well below
EPISODES = 4

RULES = {
    "repeated": "the same call once more",
    "query order": "queries in another order",
    "queries by class": "queries that arrive sorted by class",
    "batch": "each episode alone, not in a batch with others",
    "class order": "classes in another order",
    "support order": "each class's supports in another order",
    "other queries": "other queries removed or replaced",
}

Pair = tuple[Tensor, Tensor]  # probabilities [b, m, N] that should be equal


@dataclass(frozen=True)
class Check:
    """What became of one rule.

    Args:
        name: of `RULES`.
        passed: None where it was not asked.
        deviation: the largest difference in probability.
        explanation: one line.
    """

    name: str
    passed: bool | None
    deviation: float
    explanation: str


def failures(checks: Sequence[Check]) -> list[str]:
    """The names of the rules that were broken.

    >>> failures([Check("batch", False, 0.2, ""), Check("class order", True, 0.0, "")])
    ['batch']
    """
    return [check.name for check in checks if check.passed is False]


@torch.no_grad()
def audit(predict: Predict, episode: Episode, *, joint: bool, seed: int = 0) -> list[Check]:
    """Ask for the same predictions in other ways, and compare the probabilities.

    Args:
        predict: what is audited, see `fewshot.evaluation.scores.as_predict`.
        episode: at least 2 episodes; a few are enough.
        joint: whether it may look at all queries together, so that a query's result may depend on the others.
        seed: of the orders that are tried.

    Returns:
        A `Check` for each of `RULES`.

    Raises:
        InputError: fewer than 2 episodes.

    >>> from fewshot.methods.prototypes import prototypes
    >>> data = LabelledSet(torch.randn(60, 8), torch.arange(60) // 20, ("ant", "bee", "cat"))
    >>> episode = next(iter(EpisodeSampler(data, way=3, shot=2, query=4, batch=4)))
    >>> checks = audit(as_predict(prototypes), episode, joint=False)
    >>> failures(checks), checks[1].explanation
    ([], 'queries in another order: the same results')
    """
    b, n, k = episode.support_index.shape
    m = episode.query_index.shape[1]
    if b < 2:
        raise InputError(f"episode: expected at least 2 episodes, to take one out of its batch, got {b}")
    generator = torch.Generator().manual_seed(seed)
    queries, classes = _cycle(b, m, generator), _cycle(b, n, generator)
    supports = _cycle(b * n, k, generator).view(b, n, k)
    by_class = episode.query_labels.cpu().argsort(dim=1, stable=True)

    def look(changed: Episode) -> Float[Tensor, "b m N"]:
        return _probabilities(predict, changed)

    usual = look(episode)
    asked: dict[str, Callable[[], list[Pair]]] = {
        "repeated": lambda: [(look(episode), usual)],
        "query order": lambda: [(look(_take_queries(episode, queries)), _take(usual, queries))],
        "queries by class": lambda: [(look(_take_queries(episode, by_class)), _take(usual, by_class))],
        "batch": lambda: [(look(_alone(episode, i)), usual[i : i + 1]) for i in range(b)],
        "class order": lambda: [(look(_take_classes(episode, classes)), _take(usual.mT, classes).mT)],
        "support order": lambda: [(look(_take_supports(episode, supports)), usual)],
        "other queries": lambda: [
            *_removed(look, episode, usual),
            *_replaced(look, episode, usual),
        ],
    }
    skipped = {"other queries": "not asked of joint methods"} if joint else {}
    if k == 1:
        skipped["support order"] = "not asked, as each class has one support"
    return [
        Check(name, None, 0.0, skipped[name]) if name in skipped else _check(name, pairs())
        for name, pairs in asked.items()
    ]


def _check(name: str, pairs: Sequence[Pair]) -> Check:
    found, expected = (
        torch.cat([side.flatten(0, -2) for side in sides]) for sides in zip(*pairs, strict=True)
    )
    real = expected.sum(-1) > 0  # not padding
    found, expected = found[real], expected[real]
    deviations = (found - expected).abs().nan_to_num(nan=1.0).amax(-1)
    deviation = deviations.max().item()
    if deviation <= TOLERANCE:
        return Check(name, True, deviation, f"{RULES[name]}: the same results")
    # Where probabilities are equal but for rounding, the largest may be another one: that is no change.
    changed = ((found.argmax(-1) != expected.argmax(-1)) & (deviations > TOLERANCE)).sum().item()
    text = f"{RULES[name]}: other results, {changed} of {len(found)} predictions changed"
    return Check(name, False, deviation, text)


def _probabilities(predict: Predict, episode: Episode) -> Float[Tensor, "b m N"]:
    """In double precision, on the CPU; 0 for padding."""
    logits = predict(episode).cpu().double()
    if episode.class_mask is not None:
        logits = logits.masked_fill(~episode.class_mask.cpu().unsqueeze(1), -torch.inf)
    result = logits.softmax(-1)
    return result if episode.query_mask is None else result * episode.query_mask.cpu().unsqueeze(-1)


def _cycle(rows: int, n: int, generator: torch.Generator) -> Int64[Tensor, "rows n"]:
    """An order of n things a row in which, for n > 1, nothing stays in its place: one random cycle."""
    tour = torch.rand(rows, n, generator=generator).argsort(1)
    return torch.empty_like(tour).scatter_(1, tour, tour.roll(1, 1))


def _take(x: Shaped[Tensor, "b n *rest"], index: Int64[Tensor, "b m"]) -> Shaped[Tensor, "b m *rest"]:
    """``x[b, index[b, i]]`` for all b, i."""
    return x[torch.arange(len(x), device=x.device)[:, None], index.to(x.device)]


def _change(episode: Episode, change: Callable[[Tensor], Tensor], *names: str) -> Episode:
    """Change those of these fields that are there."""
    there = {name: getattr(episode, name) for name in names if getattr(episode, name) is not None}
    return replace(episode, **{name: change(value) for name, value in there.items()})


def _take_queries(episode: Episode, index: Int64[Tensor, "b m"]) -> Episode:
    names = "query", "query_labels", "query_index", "query_mask"
    return _change(episode, lambda x: _take(x, index), *names)


def _take_classes(episode: Episode, order: Int64[Tensor, "b N"]) -> Episode:
    places = order.argsort(1)  # where each class goes to
    labels = _take(places.to(episode.query_labels.device), episode.query_labels.clamp(min=0))
    labels = labels.where(episode.query_labels >= 0, -1)
    names = "support", "classes", "support_index", "support_mask", "class_mask", "proportions"
    moved = _change(episode, lambda x: _take(x, order), *names)
    return replace(moved, query_labels=labels, support_labels=None)


def _take_supports(episode: Episode, order: Int64[Tensor, "b N K"]) -> Episode:
    def change(x: Tensor) -> Tensor:
        return _take(x.flatten(0, 1), order.flatten(0, 1)).unflatten(0, order.shape[:2])

    return _change(episode, change, "support", "support_index", "support_mask", "support_labels")


def _alone(episode: Episode, i: int) -> Episode:
    return _change(episode, lambda x: x[i : i + 1], *(field.name for field in fields(episode)))


def _removed(look: Callable[[Episode], Tensor], episode: Episode, usual: Tensor) -> list[Pair]:
    """A query by itself: the first, the middle and the last one."""
    b, m = usual.shape[:2]
    pairs = []
    for i in sorted({0, m // 2, m - 1}):
        index = torch.full((b, 1), i)
        pairs.append((look(_take_queries(episode, index)), _take(usual, index)))
    return pairs


def _replaced(look: Callable[[Episode], Tensor], episode: Episode, usual: Tensor) -> list[Pair]:
    """Half of the queries stay, another episode's take the place of the others; then the other half."""
    m = usual.shape[1]
    first = torch.arange(m) < m // 2
    pairs = []
    for stay in (first, ~first):

        def change(x: Tensor, stay: Tensor = stay) -> Tensor:
            return torch.where(stay.to(x.device).view(1, m, *[1] * (x.dim() - 2)), x, x.roll(1, 0))

        pairs.append((look(_change(episode, change, "query"))[:, stay], usual[:, stay]))
    return pairs


def small_batch(sampler: EpisodeSampler) -> Episode:
    """The first few of a sampler's episodes, also where it is to draw fewer."""
    few = copy.copy(sampler)
    few.batch, few.episodes, few.reuse = EPISODES, few.start + EPISODES, False
    few.rank, few.world = 0, 1
    return next(iter(few))


def fitting_sampler(data: LabelledSet, seed: int = 0) -> EpisodeSampler:
    """Small episodes for an audit: 5-way, 3-shot, 5 queries a class, or what the data has enough for.

    >>> data = LabelledSet(torch.zeros(30, 2), torch.arange(30) // 6, ("a", "b", "c", "d", "e"))
    >>> sampler = fitting_sampler(data)
    >>> sampler.way, sampler.shot, sampler.query
    (5, 3, 3)
    """
    least = int(data.counts.min()) if data.num_classes else 0
    shot = max(1, min(3, least - 1))
    query = max(1, min(5, least - shot))
    return EpisodeSampler(data, max(2, min(5, data.num_classes)), shot, query, episodes=EPISODES, seed=seed)


def audit_modes(
    call: Callable[..., Any], modes: Iterable[str], episode: Episode, seed: int = 0
) -> dict[str, list[Check]]:
    """Audit a method's call in some of `fewshot.evaluation.scores.MODES`."""
    return {
        mode: audit(as_predict(call, joint=joint, know_proportions=known), episode, joint=joint, seed=seed)
        for mode, (joint, known) in MODES.items()
        if mode in modes
    }
