"""Scores of a method on episodes: accuracy with its interval, calibration, confusion, paired differences."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torchmetrics.functional.classification import binary_calibration_error

from fewshot.core.errors import InputError
from fewshot.episodes.episode import Episode
from fewshot.episodes.fingerprint import Fingerprint
from fewshot.episodes.sampler import EpisodeSampler

BINS = 15  # of probabilities, in which calibration is judged
Predict = Callable[[Episode], Tensor]
Gather = Callable[[Any], list[Any]]  # what this process has, to what all of them have
# What a class graph may look at: (all queries together, the classes' shares of them).
MODES: dict[str, tuple[bool, bool]] = {
    "inductive": (False, False),
    "joint": (True, False),
    "joint-known": (True, True),
}


@dataclass(frozen=True, eq=False)
class Scores:
    """What a method scored on a set of episodes. Shares are in percent, but for `ece`, which is from 0 to 1.

    Attributes:
        accuracy, ci95: mean accuracy over the episodes, and half the width of its 95 % interval,
            1.96 s / sqrt(episodes); nan for a single episode.
        fingerprint: of the episodes' indices: the same only for the very same episodes.
        ece: expected calibration error of the top class's probability, 15 bins.
        calibration: **[15, 3]**, of each of these bins: queries, mean probability of the top class, and share
            of right answers, both from 0 to 1 and nan in an empty bin.
        per_class: accuracy by class name, of the classes that had a query.
        confusion: counts **[classes, classes]**: row the true class, column the predicted one.
        per_episode: accuracies **[episodes]**, in the sampler's order.
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
    calibration: Float[Tensor, "bins 3"]
    per_class: dict[str, float]
    confusion: Int[Tensor, "classes classes"]
    per_episode: Float[Tensor, "episodes"]

    def row(self) -> dict[str, Any]:
        """Return one row of a results table: numbers and strings only, rounded."""
        return {
            "method": self.method,
            "mode": self.mode,
            "way": self.way,
            "shot": self.shot,
            "accuracy": round(self.accuracy, 3),
            "ci95": None if math.isnan(self.ci95) else round(self.ci95, 3),
            "episodes": self.episodes,
            "fingerprint": self.fingerprint,
            "ece": round(self.ece, 4),
        }


def interval95(values: Float[Tensor, "episodes"]) -> tuple[float, float]:
    """Return the mean and half the width of its normal 95 % interval, 1.96 s / sqrt(n) (nan where n = 1).

    >>> interval95(torch.tensor([40.0, 60.0, 50.0, 50.0]))
    (50.0, 8.0016...)
    """
    exact = values.double()
    spread = exact.std().item() if len(exact) > 1 else math.nan
    return exact.mean().item(), 1.96 * spread / math.sqrt(len(exact))


def as_predict(method: Callable[..., Any], *, joint: bool = False, know_proportions: bool = False) -> Predict:
    """Turn a class graph, a `GraphFewShot` or any method with the same call into what `evaluate` takes.

    Args:
        method: called as `method(support, query, joint=..., support_mask=..., class_mask=..., query_mask=...,
            proportions=...)`; returns logits **[B, M, N]**, or an output with `logits`.
        joint: look at all queries together (transductive inference).
        know_proportions: tell the method the classes' true shares of the query set.
    """

    def predict(episode: Episode) -> Tensor:
        learned = next(method.parameters(), None) if isinstance(method, nn.Module) else None
        if learned is not None:
            episode = episode.to(learned.device)
        out = method(
            episode.support,
            episode.query,
            joint=joint,
            support_mask=episode.support_mask,
            class_mask=episode.class_mask,
            query_mask=episode.query_mask,
            proportions=episode.proportions if know_proportions else None,
        )
        return out if isinstance(out, Tensor) else out.logits

    return predict


@torch.no_grad()
def evaluate(
    predict: Predict,
    sampler: EpisodeSampler,
    *,
    method: str,
    mode: str = "inductive",
    gather: Gather | None = None,
) -> Scores:
    """Score a method on all episodes of a sampler, a batch at a time.

    Args:
        predict: an Episode (of B episodes) to logits **[B, M, N]**, on any device; see `as_predict`. The next
            episodes' items come into the same memory, so it should not keep them.
        sampler: draws the episodes; must have a number of them.
        method, mode: names for the table.
        gather: of several processes, each with a sampler of its own share (`rank` and `world`), gives all
            what each found, so that each has the scores of all episodes: those of one process. Default None:
            the scores of this sampler's share.

    Raises:
        InputError: a sampler without end, logits of a wrong shape, or logits that are nan.

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
        raise InputError("sampler: expected a number of episodes to evaluate on, got one without end (None)")
    data = sampler.data
    fingerprint, parts = Fingerprint(), []
    sampler = copy.copy(sampler)
    sampler.reuse = True  # memory that the processor still has at hand
    for episode in sampler:
        logits = predict(episode)
        _check(logits, episode, method)
        fingerprint.update(episode)
        parts.append(_answers(logits, episode, data.num_classes))
    found = _joined(parts)
    if gather is not None:
        everything = gather((fingerprint, found))
        found = _in_order(_joined([own for _, own in everything if own]))
        for other, _ in everything:
            fingerprint.merge(other)
    if not found:
        raise InputError("sampler: expected at least 1 episode to evaluate on, got 0")
    _, per_episode, _, confidences, hits, pairs = found
    if confidences.isnan().any():
        raise InputError(f"{method}: expected logits that are numbers, got nan")
    size = data.num_classes
    confusion = torch.bincount(pairs, minlength=size * size).view(size, size)
    accuracy, ci95 = interval95(per_episode)
    seen = confusion.sum(dim=1)  # queries of each class
    # Of a share of the episodes too the fingerprint is that of all of them, which have to be drawn for it.
    partial = sampler.world > 1 and gather is None
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
        ece=binary_calibration_error(confidences, hits.int(), n_bins=BINS).item(),
        calibration=_calibration(confidences, hits),
        per_class={data.class_names[c]: shares[c].item() for c in seen.nonzero().flatten().tolist()},
        confusion=confusion,
        per_episode=per_episode,
    )


def _check(logits: Tensor, episode: Episode, method: str) -> None:
    expected = (*episode.query_labels.shape, episode.classes.shape[1])
    if tuple(logits.shape) != expected:
        raise InputError(f"{method}: expected logits [B, M, N] = {list(expected)}, got {list(logits.shape)}")


def _joined(parts: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """The `_answers` of several batches as those of one, on the CPU; empty of none."""
    return [torch.cat(part).cpu() for part in zip(*parts, strict=True)]


def _in_order(found: list[Tensor]) -> list[Tensor]:
    """`_answers` in the order of the episodes' numbers."""
    if not found:
        return []
    numbers, per_episode, queries, *of_queries = found
    order = numbers.argsort()
    places = numbers.repeat_interleave(queries).argsort(stable=True)
    return [numbers[order], per_episode[order], queries[order], *(values[places] for values in of_queries)]


def _answers(logits: Tensor, episode: Episode, size: int) -> tuple[Tensor, ...]:
    """What there is to count of a batch, on the logits' device, where nothing waits for it.

    The episodes' numbers, accuracies and numbers of real queries, each **[B]**; of each real query the top
    class's probability, whether it is right, and the pair of its class and the predicted one as a single
    number, c·size + predicted.
    """
    assert episode.numbers is not None  # or there would be no fingerprint
    classes, labels = episode.classes.to(logits.device), episode.query_labels.to(logits.device)
    if episode.class_mask is not None:
        logits = logits.masked_fill(~episode.class_mask.to(logits.device).unsqueeze(1), -torch.inf)
    top, predicted = logits.max(dim=-1)  # [B, M]
    probability = 1 / (logits.double() - top.unsqueeze(-1)).exp().sum(dim=-1)  # the largest of a softmax
    correct = predicted == labels
    pairs = size * classes.gather(1, labels.clamp(min=0)) + classes.gather(1, predicted)
    if episode.query_mask is None:
        queries = torch.full((len(episode),), labels.shape[1])
        accuracy = 100.0 * correct.sum(dim=1).double() / labels.shape[1]
        return episode.numbers, accuracy, queries, probability.flatten(), correct.flatten(), pairs.flatten()
    real = episode.query_mask.to(logits.device)
    queries = real.sum(dim=1)
    accuracy = 100.0 * (correct & real).sum(dim=1).double() / queries
    return episode.numbers, accuracy, queries, probability[real], correct[real], pairs[real]


def _calibration(confidences: Float[Tensor, "n"], hits: Bool[Tensor, "n"]) -> Float[Tensor, "bins 3"]:
    place = (confidences * BINS).long().clamp(max=BINS - 1)
    sums = [place.bincount(weights, BINS) for weights in (None, confidences.double(), hits.double())]
    count = sums[0]
    return torch.stack([count.double(), sums[1] / count, sums[2] / count], dim=1).float()  # 0 / 0 is nan


def paired_difference(scores: Scores, reference: Scores) -> tuple[float, float]:
    """Return how many points of accuracy `scores` lies above `reference`, and half the 95 % interval of that.

    Taken episode by episode, so that what makes an episode hard for both cancels out.

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
    """List the pairs of classes most often taken for each other, the worst first.

    Args:
        confusion: counts **[classes, classes]**, as in `Scores`.
        names: of the classes, in order.
        top: how many pairs at most (default 10); pairs never confused are left out.

    Returns:
        One dict a pair: the two names `a` and `b`, `count` of queries of either taken for the other, and
        `percent` of all queries of the two classes.

    >>> hardest_pairs(torch.tensor([[8, 2, 0], [1, 9, 0], [0, 0, 5]]), ["ant", "bee", "cat"])
    [{'a': 'ant', 'b': 'bee', 'count': 3, 'percent': 15.0}]
    """
    mistakes = (confusion + confusion.T).triu(diagonal=1)
    queries = confusion.sum(dim=1)
    both = (queries[:, None] + queries[None, :]).clamp(min=1)
    percent = 100.0 * mistakes.double() / both
    best = percent.flatten().topk(min(top, percent.numel())).indices.tolist()
    pairs = [divmod(index, len(names)) for index in best]
    return [
        {
            "a": names[i],
            "b": names[j],
            "count": int(mistakes[i, j]),
            "percent": round(percent[i, j].item(), 2),
        }
        for i, j in pairs
        if mistakes[i, j] > 0
    ]
