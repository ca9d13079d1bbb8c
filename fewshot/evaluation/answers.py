"""What is counted of a method's answers: accuracies, confidences, hits and confusions, batch by batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

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
    total = relative.exp().sum(dim=-1)
    probability = total.reciprocal()  # the largest of a softmax
    named = labels.clamp(min=0)
    own = relative.gather(-1, named.unsqueeze(-1)).squeeze(-1)
    loss = (total.log() - own).clamp_max(-math.log(LEAST))
    correct = predicted == labels
    pairs = size * classes.gather(1, named) + classes.gather(1, predicted)
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


def calibration(
    confidences: Float[Tensor, "n"], hits: Bool[Tensor, "n"]
) -> tuple[float, Float[Tensor, "bins 3"]]:
    r"""The expected calibration error, and what it is made of.

    .. math:: \sum_b \frac{n_b}{n} \, |\bar p_b - \bar h_b|

    (Naeini, Cooper and Hauskrecht, *Obtaining well calibrated probabilities using Bayesian binning*, AAAI
    2015), over 15 bins of equal width and one for answers whose probability is 1.

    Args:
        confidences: the probabilities of the answers.
        hits: which answers are right.

    Returns:
        The error, and **[15, 3]**: of each bin the number of answers, the mean of their probabilities, and
            the share of right ones, both nan in an empty bin; the last bin has those of probability 1, too.

    >>> error, bins = calibration(torch.tensor([0.9, 0.9, 1.0]), torch.tensor([True, False, True]))
    >>> round(error, 4), bins[13].tolist()
    (0.2667, [2.0, 0.8999999761581421, 0.5])
    """
    place = (confidences * BINS).long()
    sums = [place.bincount(weights, BINS + 1) for weights in (None, confidences.double(), hits.double())]
    count, confidence, right = torch.stack([x.double() for x in sums])
    error = (confidence - right).abs().sum() / len(hits)
    for x in (count, confidence, right):
        x[BINS - 1] += x[BINS]
    bins = torch.stack([count, confidence / count, right / count], dim=1)  # 0 / 0 is nan
    return error.item(), bins[:BINS].float()


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
    # The bits of positive floats are in the order of their values, so plain integers can be sorted; torch
    # takes half as long upwards as downwards.
    bits = confidences.double().view(torch.int64)
    keys = torch.sort((~hits).long() - 2 * bits).values
    wrong, sure = (keys & 1).double(), keys >> 1
    differs = sure[1:] != sure[:-1]
    if not differs.all():  # those that are equally sure count with their mean
        sizes = sure.unique_consecutive(return_counts=True)[1]
        ends = torch.cat([wrong.new_zeros(1), wrong.cumsum(0)[sizes.cumsum(0) - 1]])
        wrong = (ends.diff() / sizes).repeat_interleave(sizes)
    return wrong.cumsum(0) / torch.arange(1, len(keys) + 1, device=keys.device)


def risk_curve(
    confidences: Float[Tensor, "n"], hits: Bool[Tensor, "n"]
) -> tuple[float, Float[Tensor, " points"]]:
    """The area under the curve of `risks`, and the curve at coverages of 1, 2, ..., 100 % of the answers."""
    found = risks(confidences, hits)
    places = (torch.arange(1, COVERED + 1, dtype=torch.float64) * len(found) / COVERED).ceil().long()
    return found.mean().item(), found[places - 1]
