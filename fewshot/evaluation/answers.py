"""What is counted of a method's answers: accuracies, confidences, hits and confusions, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.episodes.episode import Episode

BINS = 15  # of probabilities, for the calibration error


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
    top class's probability, whether it is correct, and the pair of its class and the predicted one as a
    single number, c·size + predicted. Padding and queries of unknown classes are not counted.
    """
    assert episode.numbers is not None  # or there would be no fingerprint
    classes, labels = episode.classes.to(logits.device), episode.query_labels.to(logits.device)
    if episode.class_mask is not None:
        logits = logits.masked_fill(~episode.class_mask.to(logits.device).unsqueeze(1), -torch.inf)
    top, predicted = logits.max(dim=-1)  # [B, M]
    probability = 1 / (logits.double() - top.unsqueeze(-1)).exp().sum(dim=-1)  # the largest of a softmax
    correct = predicted == labels
    pairs = size * classes.gather(1, labels.clamp(min=0)) + classes.gather(1, predicted)
    real = episode.asked
    if real is None:
        queries = torch.full((len(episode),), labels.shape[1])
        accuracy = 100.0 * correct.sum(dim=1).double() / labels.shape[1]
        return episode.numbers, accuracy, queries, probability.flatten(), correct.flatten(), pairs.flatten()
    real = real.to(logits.device)
    queries = real.sum(dim=1)
    accuracy = 100.0 * (correct & real).sum(dim=1).double() / queries
    return episode.numbers, accuracy, queries, probability[real], correct[real], pairs[real]


def calibration(confidences: Float[Tensor, "n"], hits: Bool[Tensor, "n"]) -> Float[Tensor, "bins 3"]:
    place = (confidences * BINS).long().clamp(max=BINS - 1)
    sums = [place.bincount(weights, BINS) for weights in (None, confidences.double(), hits.double())]
    count = sums[0]
    return torch.stack([count.double(), sums[1] / count, sums[2] / count], dim=1).float()  # 0 / 0 is nan
