"""Comparison of methods on the very same episodes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.core.modes import Mode
from fewshot.episodes.episode import Episode
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.audit import Check, audit_in_mode, failures, small_batch
from fewshot.evaluation.choice import YARDSTICK
from fewshot.evaluation.relations import Relations
from fewshot.evaluation.scores import Predict, Scores, evaluate, in_mode, paired_difference
from fewshot.methods import catalogue
from fewshot.methods.catalogue import Method
from fewshot.methods.shared.call import FewShotCall
from fewshot.methods.shared.material import Material


@dataclass(frozen=True, eq=False)
class Compared:
    """A method in one mode: a row of the comparison.

    Args:
        method, scores: which it is, and what it scored.
        difference: points of accuracy above the reference, and half the 95 % interval of that, paired by
            episode; None for the reference.
        milliseconds: per episode, for prediction alone, in the sampler's batches.
        checks: of the protocol audit.
        gain: with relations: points of accuracy above the same method without, and half the 95 % interval of
            that, paired by episode; None without relations, or for a method that needs them.
        reference: what the difference is from; None for the reference.
    """

    method: Method
    scores: Scores
    difference: tuple[float, float] | None
    milliseconds: float
    checks: tuple[Check, ...]
    gain: tuple[float, float] | None = None
    reference: Scores | None = None

    @property
    def name(self) -> str:
        """The method's name."""
        return self.method.name

    @property
    def mode(self) -> str:
        """The mode, see `Mode`."""
        return self.scores.mode

    @property
    def accuracy(self) -> float:
        """The mean accuracy over the episodes, in percent."""
        return self.scores.accuracy

    @property
    def ci95(self) -> float:
        """Half the width of the accuracy's 95 % interval."""
        return self.scores.ci95

    @property
    def per_episode(self) -> Tensor:
        """The accuracy in each episode, in percent **[episodes]**; the same episodes in each row."""
        return self.scores.per_episode

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
            "reference": None if self.reference is None else self.reference.method,
            "reference_mode": None if self.reference is None else self.reference.mode,
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


def compare(
    methods: Sequence[Method],
    material: Material,
    sampler: EpisodeSampler,
    image_sampler: EpisodeSampler | None = None,
    modes: Iterable[str] = tuple(Mode),
    progress: Callable[[str], None] = lambda text: None,
    relations: Relations | None = None,
    belief: float | None = None,
    reference: Method | None = None,
) -> list[Compared]:
    """Score methods on the very same episodes; the reference comes first and is always included.

    All that can do without relations are scored without them; then those that look at relations, with them.
    Each row is compared with the reference in its own mode, if the reference has it, else in its first one.

    Args:
        methods: of `fewshot.methods.catalogue`, or your own.
        material: what they may learn from.
        sampler: episodes of features.
        image_sampler: the same episodes of images, for methods that need these; default None.
        modes: names of modes; each method gives one row per mode that it has; default all.
        progress: called with one line before anything that takes a while; default: ignores it.
        relations: of the scored classes to known ones; default None.
        belief: how far these are believed, from 0 to 1; default None: it is judged.
        reference: what the others are compared with; default None: prototypes.

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
    asked = set(modes)
    first = reference or catalogue.find(YARDSTICK)[0]
    every = [first, *(method for method in methods if method.name != first.name)]
    material = replace(material, tell=progress)
    rows: list[Compared] = []

    def score(method: Method, given: Relations | None) -> None:
        drawn = image_sampler if method.needs == "images" else sampler
        if drawn is None:
            raise InputError(f"methods: {method.name} works on images, of which there are none")
        call = method.prepare(material, progress)
        note = "" if given is None else f", relations: {given.kind}"
        its_own = [mode for mode in method.modes if mode in asked]
        if method is first and not its_own:
            its_own = [method.modes[0]]
        for mode in its_own:
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
    """One row, compared with the reference, whose rows come first, and with its own without relations."""
    checks = audit_in_mode(call, mode, small_batch(sampler), relations=relations, belief=belief)
    predict = in_mode(call, mode, relations, belief)
    with torch.no_grad():
        predict(next(iter(sampler)))  # what happens only once, such as choosing kernels, is not timed
    timed = Timed(predict)
    kind = "none" if relations is None else relations.kind
    scores = evaluate(timed, sampler, method=method.name, mode=mode, relations=kind)
    plain = [row.scores for row in before if row.method is method and row.mode == mode]
    reference = _reference(before, mode) if before and (before[0].method is not method or plain) else None
    return Compared(
        method=method,
        scores=scores,
        difference=None if reference is None else paired_difference(scores, reference),
        milliseconds=1000 * timed.seconds / scores.episodes,
        checks=tuple(checks),
        gain=paired_difference(scores, plain[0]) if plain else None,
        reference=reference,
    )


def _reference(rows: Sequence[Compared], mode: str) -> Scores:
    """The scores of the first row's method in that mode, or in its first one."""
    own = [row.scores for row in rows if row.method is rows[0].method and row.scores.relations == "none"]
    return next((scores for scores in own if scores.mode == mode), own[0])
