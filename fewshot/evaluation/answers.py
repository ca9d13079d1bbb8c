"""What is counted of a method's answers: accuracies, confidences, hits and confusions, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.episodes.episode import Episode

BINS = 15  # of probabilities, for the calibration error
COVERED = 100  # points of a risk-coverage curve
LEAST = 1e-12  # of a probability in the log likelihood, which would be infinite for a class ruled out


def check_logits(logits: Tensor, episode: Episode, method: str) -> None:
    expected = (*episode.query_labels.shape, episode.classes.shape[1])
    if tuple(logits.shape) != expected:
        raise InputError(f"{method}: expected logits [B, M, N] = {list(expected)}, got {list(logits.shape)}")


def joined(parts: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """The `answers` of several batches as those of one, on the CPU; empty for no batches."""
    return [torch.cat(part).cpu() for part in zip(*parts, strict=True)]


def in_order(found: list[Tensor]) -> list[Tensor]:
    """`answers` in the order of the episodes' numbers."""
    if not found:
        return []
    numbers, per_episode, queries, *of_queries = found
    order = numbers.argsort()
    places = numbers.repeat_interleave(queries).argsort(stable=True)
    return [numbers[order], per_episode[order], queries[order], *(values[places] for values in of_queries)]


def answers(logits: Tensor, episode: Episode, size: int) -> tuple[Tensor, ...]:
    """What is counted in a batch, left on the logits' device, so that nothing waits for it.

    The episodes' numbers, accuracies and numbers of counted queries, each **[B]**; for each counted query the
    top class's probability, whether it is correct, minus the log of the right class's probability, and the
    pair of its class and the predicted one as a single number, c·size + predicted. Padding and queries of
    unknown classes are not counted.
    """
    assert episode.numbers is not None  # or there would be no fingerprint
    classes, labels = episode.classes.to(logits.device), episode.query_labels.to(logits.device)
    if episode.class_mask is not None:
        logits = logits.masked_fill(~episode.class_mask.to(logits.device).unsqueeze(1), -torch.inf)
    top, predicted = logits.max(dim=-1)  # [B, M]
    relative = logits.double() - top.unsqueeze(-1)
    probability = 1 / relative.exp().sum(dim=-1)  # the largest of a softmax
    own = relative.gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    loss = -(own.exp() * probability).clamp_min(LEAST).log()
    correct = predicted == labels
    pairs = size * classes.gather(1, labels.clamp(min=0)) + classes.gather(1, predicted)
    real = episode.asked
    if real is None:
        queries = torch.full((len(episode),), labels.shape[1])
        accuracy = 100.0 * correct.sum(dim=1).double() / labels.shape[1]
        found = (probability, correct, loss, pairs)
        return episode.numbers, accuracy, queries, *(values.flatten() for values in found)
    real = real.to(logits.device)
    queries = real.sum(dim=1)
    accuracy = 100.0 * (correct & real).sum(dim=1).double() / queries
    return episode.numbers, accuracy, queries, *(x[real] for x in (probability, correct, loss, pairs))


def calibration(confidences: Float[Tensor, "n"], hits: Bool[Tensor, "n"]) -> Float[Tensor, "bins 3"]:
    place = (confidences * BINS).long().clamp(max=BINS - 1)
    sums = [place.bincount(weights, BINS) for weights in (None, confidences.double(), hits.double())]
    count = sums[0]
    return torch.stack([count.double(), sums[1] / count, sums[2] / count], dim=1).float()  # 0 / 0 is nan


def risks(confidences: Float[Tensor, "n"], hits: Bool[Tensor, "n"]) -> Float[Tensor, "n"]:
    r"""The share of wrong answers among the k surest, for k = 1, ..., n (the risk-coverage curve).

    .. math:: r_k = \frac 1k \sum_{i \le k} [\text{answer } i \text{ is wrong}]

    Their mean is the area under that curve (AURC; Geifman, Uziel and El-Yaniv, *Bias-reduced uncertainty
    estimation for deep neural classifiers*, ICLR 2019). Answers that are equally sure count with their mean,
    so that no order among them matters.

    Args:
        confidences: the probabilities of the answers.
        hits: which answers are right.

    >>> risks(torch.tensor([0.9, 0.5, 0.7]), torch.tensor([True, False, False])).round(decimals=3)
    tensor([0.0000, 0.5000, 0.6670], dtype=torch.float64)
    """
    # The bits of positive floats are in the order of their values, so plain integers can be sorted, which is
    # several times as fast as sorting indices.
    keys = np.sort((2 * confidences.double().view(torch.int64) + hits).cpu().numpy())[::-1]
    wrong, sure = np.cumsum(1 - (keys & 1), dtype=np.float64), keys >> 1
    last = np.append(np.flatnonzero(sure[1:] != sure[:-1]), len(keys) - 1)  # of those that are equally sure
    if len(last) < len(keys):
        wrong = np.interp(np.arange(len(keys)), np.append(-1, last), np.append(0.0, wrong[last]))
    return torch.from_numpy(wrong / np.arange(1, len(keys) + 1))


def risk_curve(
    confidences: Float[Tensor, "n"], hits: Bool[Tensor, "n"]
) -> tuple[float, Float[Tensor, " points"]]:
    """The area under the curve of `risks`, and the curve at coverages of 1, 2, ..., 100 % of the answers."""
    found = risks(confidences, hits)
    places = (torch.arange(1, COVERED + 1, dtype=torch.float64) * len(found) / COVERED).ceil().long()
    return found.mean().item(), found[places - 1]
