"""The protocol audit: does a method's result depend on what it must not see?

A result that changes with the order of the queries, with the other episodes of a batch or, in inductive mode,
with the other queries uses information that a user's queries do not carry.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.core.modes import Mode
from fewshot.data.labelled import LabelledSet
from fewshot.episodes.episode import Episode
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.changes import (
    Pair,
    alone,
    cycle,
    removed,
    replaced,
    take,
    take_classes,
    take_queries,
    take_supports,
)
from fewshot.evaluation.relations import Changed, Relations
from fewshot.evaluation.scores import Predict, in_mode

TOLERANCE = 1e-3  # in probability; arithmetic in another order stays well below
EPISODES = 4

RULES = {
    "repeated": "the same call again",
    "query order": "queries in another order",
    "queries by class": "queries that arrive sorted by class",
    "batch": "each episode alone, not in a batch with others",
    "class order": "classes in another order",
    "support order": "each class's supports in another order",
    "other queries": "other queries removed or replaced",
    "relations": "relations on another scale, known classes in another order",
}


@dataclass(frozen=True)
class Check:
    """The outcome of one rule.

    Args:
        name: of `RULES`.
        passed: None if it was skipped.
        deviation: largest difference in probability.
        explanation: one line.
    """

    name: str
    passed: bool | None
    deviation: float
    explanation: str


def failures(checks: Sequence[Check]) -> list[str]:
    """The names of the broken rules.

    >>> failures([Check("batch", False, 0.2, ""), Check("class order", True, 0.0, "")])
    ['batch']
    """
    return [check.name for check in checks if check.passed is False]


@torch.no_grad()
def audit(
    predict: Predict, episode: Episode, *, joint: bool, seed: int = 0, changed: Sequence[Predict] = ()
) -> list[Check]:
    """Make the same predictions under changes that must not matter, and compare the probabilities.

    Args:
        predict: what to audit, see `fewshot.evaluation.scores.as_predict`.
        episode: at least 2 episodes; a few are enough.
        joint: whether it may look at all queries together, so that a query's result may depend on the others.
        seed: of the orders to try; default 0.
        changed: the same with relations changed in ways that must not matter, see `changed_relations`;
            default: it is given no relations.

    Returns:
        One `Check` per rule of `RULES`; that of relations only if there are any.

    Raises:
        InputError: fewer than 2 episodes.

    >>> from fewshot.methods.prototypes import prototypes
    >>> data = LabelledSet(torch.randn(60, 8), torch.arange(60) // 20, ("ant", "bee", "cat"))
    >>> episode = next(iter(EpisodeSampler(data, way=3, shot=2, query=4, batch=4)))
    >>> checks = audit(in_mode(prototypes, "inductive"), episode, joint=False)
    >>> failures(checks), checks[1].explanation
    ([], 'queries in another order: the same results')
    """
    b, n, k = episode.support_index.shape
    m = episode.query_index.shape[1]
    if b < 2:
        raise InputError(f"episode: expected at least 2 episodes, to take one out of its batch, got {b}")
    generator = torch.Generator().manual_seed(seed)
    queries, classes = cycle(b, m, generator), cycle(b, n, generator)
    supports = cycle(b * n, k, generator).view(b, n, k)
    by_class = episode.query_labels.cpu().argsort(dim=1, stable=True)

    def look(changed: Episode) -> Float[Tensor, "b m N"]:
        return _probabilities(predict, changed)

    usual = look(episode)
    probes: dict[str, Callable[[], list[Pair]]] = {
        "repeated": lambda: [(look(episode), usual)],
        "query order": lambda: [(look(take_queries(episode, queries)), take(usual, queries))],
        "queries by class": lambda: [(look(take_queries(episode, by_class)), take(usual, by_class))],
        "batch": lambda: [(look(alone(episode, i)), usual[i : i + 1]) for i in range(b)],
        "class order": lambda: [(look(take_classes(episode, classes)), take(usual.mT, classes).mT)],
        "support order": lambda: [(look(take_supports(episode, supports)), usual)],
        "other queries": lambda: [
            *removed(look, episode, usual),
            *replaced(look, episode, usual),
        ],
    }
    if changed:
        probes["relations"] = lambda: [(_probabilities(other, episode), usual) for other in changed]
    skipped = {"other queries": "skipped for joint methods"} if joint else {}
    if k == 1:
        skipped["support order"] = "skipped, as each class has one support"
    return [
        Check(name, None, 0.0, skipped[name]) if name in skipped else _compared(name, pairs())
        for name, pairs in probes.items()
    ]


def _compared(name: str, pairs: Sequence[Pair]) -> Check:
    """The check of one rule, from what was found and what it should equal."""
    found, expected = (
        torch.cat([side.flatten(0, -2) for side in sides]) for sides in zip(*pairs, strict=True)
    )
    real = expected.sum(-1) > 0  # not padding
    found, expected = found[real], expected[real]
    deviations = (found - expected).abs().nan_to_num(nan=1.0).amax(-1)
    deviation = deviations.max().item()
    if deviation <= TOLERANCE:
        return Check(name, True, deviation, f"{RULES[name]}: the same results")
    # Among probabilities equal up to rounding the largest may be a different one: that is no change.
    changed = ((found.argmax(-1) != expected.argmax(-1)) & (deviations > TOLERANCE)).sum().item()
    text = f"{RULES[name]}: different results, {changed} of {len(found)} predictions changed"
    return Check(name, False, deviation, text)


def _probabilities(predict: Predict, episode: Episode) -> Float[Tensor, "b m N"]:
    """In float64 on the CPU; 0 for padding."""
    logits = predict(episode).cpu().double()
    if episode.class_mask is not None:
        logits = logits.masked_fill(~episode.class_mask.cpu().unsqueeze(1), -torch.inf)
    result = logits.softmax(-1)
    return result if episode.query_mask is None else result * episode.query_mask.cpu().unsqueeze(-1)


def small_batch(sampler: EpisodeSampler) -> Episode:
    """The first few of a sampler's episodes, even if it draws fewer."""
    few = copy.copy(sampler)
    few.batch, few.episodes, few.reuse = EPISODES, few.start + EPISODES, False
    few.rank, few.world = 0, 1
    return next(iter(few))


def fitting_sampler(data: LabelledSet, seed: int = 0) -> EpisodeSampler:
    """Small episodes for an audit: 5-way, 3-shot, 5 queries per class, or as large as the data allows.

    >>> data = LabelledSet(torch.zeros(30, 2), torch.arange(30) // 6, ("a", "b", "c", "d", "e"))
    >>> sampler = fitting_sampler(data)
    >>> sampler.way, sampler.shot, sampler.query
    (5, 3, 3)
    """
    least = int(data.counts.min()) if data.num_classes else 0
    shot = max(1, min(3, least - 1))
    query = max(1, min(5, least - shot))
    way = max(2, min(5, data.num_classes))
    return EpisodeSampler(data, way=way, shot=shot, query=query, episodes=EPISODES, seed=seed)


def changed_relations(relations: Relations, seed: int = 0) -> list[Changed]:
    """Another scale, another offset and another order of the known classes: nothing may follow from these."""
    order = torch.randperm(len(relations.known), generator=torch.Generator().manual_seed(seed))
    return [Changed(relations, scale=3.0), Changed(relations, offset=-7.0), Changed(relations, order=order)]


def audit_in_mode(
    call: Callable[..., Any],
    mode: str,
    episode: Episode,
    seed: int = 0,
    relations: Relations | None = None,
    belief: float | None = None,
) -> list[Check]:
    """Audit a method's call in a mode; with relations, also that their scale and order change nothing."""
    changes = [] if relations is None else changed_relations(relations, seed)
    return audit(
        in_mode(call, mode, relations, belief),
        episode,
        joint=Mode(mode).joint,
        seed=seed,
        changed=[in_mode(call, mode, other, belief) for other in changes],
    )


def audit_modes(
    call: Callable[..., Any],
    modes: Iterable[str],
    episode: Episode,
    seed: int = 0,
    relations: Relations | None = None,
    without: bool = True,
) -> dict[str, list[Check]]:
    """Audit a method's call in each of these modes, by its name.

    Args:
        call: see `FewShotCall`.
        modes: names of `Mode`.
        episode: a few episodes.
        seed: of the orders to try; default 0.
        relations: also audit it with these, under "MODE, relations"; default None.
        without: whether it is audited without relations; default True.
    """
    chosen = [mode for mode in Mode if mode in modes]
    plain = {mode.value: audit_in_mode(call, mode, episode, seed) for mode in chosen if without}
    if relations is None:
        return plain
    related = {
        f"{mode.value}, relations": audit_in_mode(call, mode, episode, seed, relations) for mode in chosen
    }
    return plain | related
