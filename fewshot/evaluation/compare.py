"""Comparison of methods on the very same episodes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.core.modes import Mode
from fewshot.episodes.episode import Episode
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.audit import Check, audit_in_mode, failures, small_batch
from fewshot.evaluation.relations import Relations
from fewshot.evaluation.scores import Predict, Scores, evaluate, in_mode, paired_difference
from fewshot.methods import catalogue
from fewshot.methods.catalogue import Method
from fewshot.methods.shared.call import FewShotCall
from fewshot.methods.shared.material import Material

YARDSTICK = "prototypes"


@dataclass(frozen=True, eq=False)
class Compared:
    """A method in one mode: a row of the comparison.

    Args:
        method, scores: which it is, and what it scored.
        difference: points of accuracy above prototypes, and half the 95 % interval of that, paired by
            episode; None for prototypes.
        milliseconds: per episode, for prediction alone, in the sampler's batches.
        checks: of the protocol audit.
        gain: with relations: points of accuracy above the same method without, and half the 95 % interval of
            that, paired by episode; None without relations, or for a method that needs them.
    """

    method: Method
    scores: Scores
    difference: tuple[float, float] | None
    milliseconds: float
    checks: tuple[Check, ...]
    gain: tuple[float, float] | None = None

    def row(self) -> dict[str, Any]:
        """The row as plain values, rounded; the audit as the names of the broken rules."""
        above, ci95 = self.difference or (None, None)
        gain, gain_ci95 = self.gain or (None, None)
        gains = {"gain": _rounded(gain), "gain_ci95": _rounded(gain_ci95)}
        return {
            **self.scores.row(),
            "title": self.method.title,
            "paper": self.method.paper,
            "difference": _rounded(above),
            "difference_ci95": _rounded(ci95),
            "ms_per_episode": float(f"{self.milliseconds:.3g}"),
            "audit": failures(self.checks),
            **({} if self.scores.relations == "none" else gains),
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else round(value, 3)


class Timed:
    """A predictor that adds up the seconds of its calls, including the GPU's work."""

    def __init__(self, predict: Predict) -> None:
        self.predict, self.seconds = predict, 0.0

    def __call__(self, episode: Episode) -> Tensor:
        _finish_gpu_work()
        begin = time.perf_counter()
        logits = self.predict(episode)
        _finish_gpu_work()
        self.seconds += time.perf_counter() - begin
        return logits


def _finish_gpu_work() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def choose_modes(mode: str = "all", proportions: str = "both") -> tuple[str, ...]:
    """The names of the modes that a user's options ask for.

    Args:
        mode: "inductive", "joint", or "all" (default).
        proportions: the joint modes that are given the classes' shares ("known"), those that are not
            ("unknown"), or "both" (default).

    >>> choose_modes(), choose_modes("joint", "known"), choose_modes(proportions="unknown")
    (('inductive', 'joint', 'joint-known'), ('joint-known',), ('inductive', 'joint'))
    """
    return tuple(
        one.value
        for one in Mode
        if mode in ("all", "joint" if one.joint else "inductive")
        and (not one.joint or proportions in ("both", "known" if one.known else "unknown"))
    )


def choose(
    names: str | None,
    modes: Iterable[str] = tuple(Mode),
    lacks: Mapping[str, str] | None = None,
    relations: bool = False,
) -> tuple[list[Method], list[str]]:
    """The methods to compare, and one line for each reason why some are left out.

    Args:
        names: separated by commas; None: all that need no images (those train for minutes).
        modes: those to compare in; default all.
        lacks: those of the methods' ``needs`` that are not met, each with the reason; default none.
        relations: whether there are relations to known classes; default False.

    Raises:
        InputError: an unknown name, or a named method that cannot be compared.
    """
    modes, lacks = set(modes), lacks or {}
    reasons: dict[str, list[str]] = {}
    chosen = []
    for method in dict.fromkeys(catalogue.find(names)):
        reason = lacks.get(method.needs)
        if not modes & set(method.modes) and method.name != YARDSTICK:
            if names is None:
                continue
            reason = f"its modes are {', '.join(method.modes)}"
        elif method.relations == "must" and not relations:
            if names is None:
                continue
            reason = "it needs relations to known classes; --relations gives them"
        elif reason is None and names is None and method.needs == "images":
            reason = "training on images takes minutes; --methods NAME,NAME,... includes them"
        if reason is None:
            chosen.append(method)
        elif names is not None:
            raise InputError(f"methods: {method.name} cannot be compared here: {reason}")
        else:
            reasons.setdefault(reason, []).append(method.name)
    return chosen, [f"left out: {', '.join(names)} ({reason})" for reason, names in reasons.items()]


def compare(
    methods: Sequence[Method],
    material: Material,
    sampler: EpisodeSampler,
    image_sampler: EpisodeSampler | None = None,
    modes: Iterable[str] = tuple(Mode),
    progress: Callable[[str], None] = lambda text: None,
    relations: Relations | None = None,
    belief: float | None = None,
) -> list[Compared]:
    """Score methods on the very same episodes; prototypes come first and are always included.

    All that can do without relations are scored without them; then those that look at relations, with them.

    Args:
        methods: of `fewshot.methods.catalogue`, or your own.
        material: what they may learn from.
        sampler: episodes of features.
        image_sampler: the same episodes of images, for methods that need these; default None.
        modes: names of modes; each method gives one row per mode that it has; default all.
        progress: called with one line before anything that takes a while; default: ignores it.
        relations: of the scored classes to known ones; default None.
        belief: how far these are believed, from 0 to 1; default None: it is judged.

    Raises:
        InputError: the samplers draw different episodes, or a method needs images and there are none.

    >>> from fewshot.evaluation.inputs import made_up_data
    >>> data = made_up_data()
    >>> sampler = data.sampler("test", shot=2, query=5, episodes=40)
    >>> material = data.material(sampler, "test", base=False)
    >>> rows = compare(catalogue.find("class-graph"), material, sampler, modes=["joint"])
    >>> [(row.method.title, row.scores.mode, failures(row.checks)) for row in rows]
    [('ProtoNet', 'inductive', []), ('class graph', 'joint', [])]
    """
    if image_sampler is not None and image_sampler.fingerprint() != sampler.fingerprint():
        raise InputError("image_sampler: expected the same episodes as those of the features, got others")
    wanted = set(modes)
    [yardstick] = catalogue.find(YARDSTICK)
    every = [yardstick, *(method for method in methods if method.name != YARDSTICK)]
    rows: list[Compared] = []

    def score(method: Method, given: Relations | None) -> None:
        drawn = image_sampler if method.needs == "images" else sampler
        if drawn is None:
            raise InputError(f"methods: {method.name} works on images, of which there are none")
        if method.needs != "features":
            progress(f"{method.name}: learning")
        call = method.make(material)
        note = "" if given is None else f", relations: {given.kind}"
        for mode in method.modes:
            if mode in wanted or method is yardstick:
                progress(f"{method.name}, {mode}{note}: scoring {drawn.episodes} episodes")
                rows.append(_score(method, call, mode, drawn, rows, given, belief))

    for method in every:
        if method.relations != "must":
            score(method, None)
    for method in every:
        if relations is not None and method.relations != "no":
            score(method, relations)
    return rows


def _score(
    method: Method,
    call: FewShotCall,
    mode: str,
    sampler: EpisodeSampler,
    before: Sequence[Compared],
    relations: Relations | None,
    belief: float | None,
) -> Compared:
    """One row, compared with the first of those before, and with its own without relations."""
    checks = audit_in_mode(call, mode, small_batch(sampler), relations=relations, belief=belief)
    predict = in_mode(call, mode, relations, belief)
    with torch.no_grad():
        predict(next(iter(sampler)))  # what happens only once, such as choosing kernels, is not timed
    timed = Timed(predict)
    kind = "none" if relations is None else relations.kind
    scores = evaluate(timed, sampler, method=method.name, mode=mode, relations=kind)
    plain = [row.scores for row in before if (row.method, row.scores.mode) == (method, mode)]
    return Compared(
        method=method,
        scores=scores,
        difference=paired_difference(scores, before[0].scores) if before else None,
        milliseconds=1000 * timed.seconds / scores.episodes,
        checks=tuple(checks),
        gain=paired_difference(scores, plain[0]) if plain else None,
    )
