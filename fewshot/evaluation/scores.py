"""Scores of a method on episodes: accuracy with its interval, calibration, confusion, paired differences."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from fewshot.core.errors import InputError
from fewshot.core.memory import kept
from fewshot.core.modes import Mode
from fewshot.episodes.episode import Episode
from fewshot.episodes.fingerprint import Fingerprint
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.answers import answers, calibration, check_logits, in_order, joined, risk_curve
from fewshot.evaluation.relations import Knowledge
from fewshot.methods.shared.call import FewShotCall

Predict = Callable[[Episode], Tensor]
Gather = Callable[[Any], list[Any]]  # from what this process has to what all of them have
MOST = 10_000  # classes that episodes are drawn from
MODES = {mode.value: (mode.joint, mode.known) for mode in Mode}  # the flags of each `Mode`, by name


@dataclass(frozen=True, eq=False)
class Scores:
    """What a method scored on a set of episodes; accuracies are in percent, probabilities from 0 to 1.

    Attributes:
        accuracy, ci95: mean accuracy over the episodes, and half the width of its 95 % interval,
            1.96 s / sqrt(episodes); nan for a single episode.
        fingerprint: of the episodes' indices: equal only for the very same episodes.
        ece: expected calibration error of the top class's probability, 15 bins.
        nll: mean of minus the log of the right class's probability; one below 1e-12 counts as 1e-12.
        aurc: area under the risk-coverage curve, see `fewshot.evaluation.answers.risks`; from 0 to 1.
        risk: **[100]**, that curve: the share of wrong answers among the surest 1, 2, ..., 100 %.
        calibration: **[15, 3]**, for each of these bins: the number of queries, the mean probability of the
            top class, and the share of correct predictions, both from 0 to 1 and nan in an empty bin.
        per_class: accuracy by class name, for the classes that had a query.
        confusion: counts **[classes, classes]**: rows are true classes, columns predicted ones.
        per_episode: accuracies **[episodes]**, in the sampler's order.
        relations: what the method was given of known classes, see `fewshot.evaluation.relations`; "none" is
            nothing.
    """

    method: str
    mode: str
    way: int | tuple[int, ...]
    shot: int | tuple[int, ...]
    accuracy: float
    ci95: float
    episodes: int
    fingerprint: str
    ece: float
    nll: float
    aurc: float
    risk: Float[Tensor, " points"]
    calibration: Float[Tensor, "bins 3"]
    per_class: dict[str, float]
    confusion: Int[Tensor, "classes classes"]
    per_episode: Float[Tensor, "episodes"]
    relations: str = "none"

    def row(self) -> dict[str, Any]:
        """Return one row of a results table: numbers and strings only, rounded."""
        return {
            "method": self.method,
            "mode": self.mode,
            "relations": self.relations,
            "way": self.way,
            "shot": self.shot,
            "accuracy": round(self.accuracy, 3),
            "ci95": None if math.isnan(self.ci95) else round(self.ci95, 3),
            "episodes": self.episodes,
            "fingerprint": self.fingerprint,
            "ece": round(self.ece, 4),
            "nll": round(self.nll, 4),
            "aurc": round(self.aurc, 4),
        }


def interval95(values: Float[Tensor, "episodes"]) -> tuple[float, float]:
    """Return the mean and half the width of its normal 95 % interval, 1.96 s / sqrt(n) (nan for n = 1).

    >>> interval95(torch.tensor([40.0, 60.0, 50.0, 50.0]))
    (50.0, 8.0016...)
    """
    exact = values.double()
    deviation = exact.std().item() if len(exact) > 1 else math.nan
    return exact.mean().item(), 1.96 * deviation / math.sqrt(len(exact))


def as_answer(
    method: FewShotCall,
    *,
    joint: bool = False,
    know_proportions: bool = False,
    relations: Knowledge | None = None,
    belief: float | None = None,
    **options: Any,
) -> Callable[[Episode], Any]:
    """`as_predict`, but with all that the method returns; ``options`` are further ones of its call."""
    owner = getattr(method, "__self__", method)  # of a module's method, the module

    def answer(episode: Episode) -> Any:
        learned = next(owner.parameters(), None) if isinstance(owner, nn.Module) else None
        if learned is not None:
            episode = episode.to(learned.device)
        if episode.support is None or episode.query is None:
            raise InputError("episode: expected one with its items, got indices alone (gather=False)")
        further = options
        if relations is not None:
            known, rows = relations.given(episode)
            further = {"known": known, "relations": rows, "belief": belief, **options}
        return method(
            episode.support,
            episode.query,
            joint=joint,
            support_mask=episode.support_mask,
            class_mask=episode.class_mask,
            query_mask=episode.query_mask,
            proportions=episode.proportions if know_proportions else None,
            **further,
        )

    return answer


def as_predict(
    method: FewShotCall,
    *,
    joint: bool = False,
    know_proportions: bool = False,
    relations: Knowledge | None = None,
    belief: float | None = None,
) -> Predict:
    """Turn a class graph, a `GraphFewShot` or any method into what `evaluate` takes.

    Args:
        method: called as all methods are, see `FewShotCall`.
        joint: look at all queries together (transductive inference); default False.
        know_proportions: give the method the classes' true shares of the query set; default False.
        relations: give it known classes and relations to them; default None.
        belief: how far to believe these, from 0 to 1; default None: the method judges it.
    """
    answer = as_answer(
        method, joint=joint, know_proportions=know_proportions, relations=relations, belief=belief
    )

    def predict(episode: Episode) -> Tensor:
        out = answer(episode)
        return out if isinstance(out, Tensor) else out.logits

    return predict


def in_mode(
    method: FewShotCall, mode: str, relations: Knowledge | None = None, belief: float | None = None
) -> Predict:
    """`as_predict` in a `Mode`."""
    joint, known = MODES[mode]
    return as_predict(method, joint=joint, know_proportions=known, relations=relations, belief=belief)


@torch.no_grad()
@kept()
def evaluate(
    predict: Predict,
    sampler: EpisodeSampler,
    *,
    method: str,
    mode: str = "inductive",
    relations: str = "none",
    gather: Gather | None = None,
) -> Scores:
    """Score a method on all episodes of a sampler, a batch at a time.

    Args:
        predict: from an `Episode` (of B episodes) to logits **[B, M, N]**, on any device; see `as_predict`.
            It should not keep the items: the next batch overwrites them.
        sampler: draws the episodes; must be finite.
        method, mode, relations: names for the table.
        gather: exchanges what several processes found, each with a sampler of its own share (`rank` and
            `world`), so that each has the scores of all episodes, equal to those of one process. Default
            None: the scores of this sampler's share.

    Raises:
        InputError: an endless sampler, logits of the wrong shape, or logits that are nan.

    >>> from fewshot import FeatureSet
    >>> from fewshot.methods.prototypes import prototypes
    >>> features = torch.eye(3).repeat_interleave(10, dim=0)  # 10 images of each of 3 classes, all alike
    >>> data = FeatureSet(features, torch.arange(30) // 10, ("ant", "bee", "cat"))
    >>> sampler = EpisodeSampler(data, way=2, shot=1, query=5, episodes=100)
    >>> scores = evaluate(as_predict(prototypes), sampler, method="prototypes")
    >>> scores.accuracy, scores.ci95, scores.per_class
    (100.0, 0.0, {'ant': 100.0, 'bee': 100.0, 'cat': 100.0})
    """
    if sampler.episodes is None:
        raise InputError("sampler: expected a number of episodes to evaluate on, got an endless one")
    data, size, sampler = sampler.data, sampler.data.num_classes, copy.copy(sampler)
    if size > MOST:  # confusions are counted per pair of classes
        raise InputError(f"sampler: expected at most {MOST:,} classes, got {size:,}")
    fingerprint, parts = Fingerprint(), []
    sampler.reuse = True  # memory that is still in the processor's cache
    for episode in sampler:
        logits = predict(episode)
        check_logits(logits, episode, method)
        fingerprint.update(episode)
        parts.append(answers(logits, episode, size))
    found = joined(parts)
    if gather is not None:
        everything = gather((fingerprint, found))
        found = in_order(joined([own for _, own in everything if own]))
        for other, _ in everything:
            fingerprint.merge(other)
    if not found:
        raise InputError("sampler: expected at least 1 episode to evaluate on, got 0")
    _, per_episode, _, confidences, hits, losses, pairs = found
    if confidences.isnan().any():
        raise InputError(f"{method}: expected logits that are numbers, got nan")
    confusion = torch.bincount(pairs, minlength=size * size).view(size, size)
    accuracy, ci95 = interval95(per_episode)
    ece, bins = calibration(confidences, hits)
    aurc, risk = risk_curve(confidences, hits)
    seen = confusion.sum(dim=1)  # queries of each class
    partial = sampler.world > 1 and gather is None  # then all episodes have to be drawn for the fingerprint
    shares = 100.0 * confusion.diagonal() / seen
    return Scores(
        method=method,
        mode=mode,
        way=sampler.way,
        shot=sampler.shot,
        accuracy=accuracy,
        ci95=ci95,
        episodes=len(per_episode),
        fingerprint=sampler.fingerprint() if partial else fingerprint.hexdigest(),
        ece=ece,
        nll=losses.mean().item(),
        aurc=aurc,
        risk=risk,
        calibration=bins,
        per_class={data.class_names[c]: shares[c].item() for c in seen.nonzero().flatten().tolist()},
        confusion=confusion,
        per_episode=per_episode,
        relations=relations,
    )


def paired_difference(scores: Scores, reference: Scores) -> tuple[float, float]:
    """Return how many points of accuracy `scores` is above `reference`, and half the 95 % interval of that.

    The difference is taken per episode, so that what makes an episode hard for both cancels out.

    Raises:
        InputError: the two were not scored on the very same episodes.
    """
    if scores.fingerprint != reference.fingerprint:
        raise InputError(
            f"paired difference: expected {scores.method} and {reference.method} on the same episodes, "
            f"got fingerprints {scores.fingerprint} and {reference.fingerprint}"
        )
    return interval95(scores.per_episode.double() - reference.per_episode.double())


def hardest_pairs(
    confusion: Int[Tensor, "classes classes"], names: Sequence[str], top: int = 10
) -> list[dict[str, Any]]:
    """List the pairs of classes most often confused with each other, the worst first.

    Args:
        confusion: counts **[classes, classes]**, as in `Scores`.
        names: of the classes, in order.
        top: the most pairs to list (default 10); pairs never confused are left out.

    Returns:
        One dict per pair: the two names `a` and `b`, the `count` of queries of either taken for the other,
        and their `percent` of all queries of the two classes.

    >>> hardest_pairs(torch.tensor([[8, 2, 0], [1, 9, 0], [0, 0, 5]]), ["ant", "bee", "cat"])
    [{'a': 'ant', 'b': 'bee', 'count': 3, 'percent': 15.0}]
    """
    mistakes = (confusion + confusion.T).triu(diagonal=1)
    queries = confusion.sum(dim=1)
    both = (queries[:, None] + queries[None, :]).clamp(min=1)
    percent = 100.0 * mistakes.double() / both
    best = percent.flatten().topk(min(top, percent.numel())).indices.tolist()
    pairs = [divmod(index, len(names)) for index in best]
    counted = [(i, j, int(mistakes[i, j]), round(percent[i, j].item(), 2)) for i, j in pairs]
    return [
        {"a": names[i], "b": names[j], "count": count, "percent": share}
        for i, j, count, share in counted
        if count > 0
    ]
