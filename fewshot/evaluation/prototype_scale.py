"""The scale that calibrates the probabilities of prototypes, fitted on classes not seen in training."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import cross_entropy

from fewshot.data.labelled import LabelledSet
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.methods.prototypes import USUAL, Scale, cosines, prototypes
from fewshot.methods.shared.call import FewShotCall
from fewshot.model.few_shot import GraphFewShot

WAYS, SHOTS, QUERY = (5, 20), (1, 5), 15
ANSWERS = 6000  # queries per way, shot and data set
PULL = 1e-3  # towards the usual powers, which a single shot or way says nothing of

Cell = tuple[int, int, Float[Tensor, "q N"], Int64[Tensor, " q"]]


def fit_scale(
    sets: Sequence[LabelledSet],
    ways: Sequence[int] = WAYS,
    shots: Sequence[int] = SHOTS,
    answers: int = ANSWERS,
    seed: int = 0,
) -> Scale | None:
    """The scale that makes prototypes' cross-entropy smallest, a mean over data sets, ways and shots.

    Args:
        sets: features minus the base mean, of classes that their backbone did not see.
        ways, shots: those for which there are classes and images.
        answers: about how many queries per cell.
        seed: of the episodes.

    Returns:
        None if no set has two classes with two images each.

    >>> from fewshot.data.synthetic import made_up_features
    >>> scale = fit_scale([made_up_features(8, 20)], ways=[5], answers=300)
    >>> 3 < scale.at(torch.tensor(1.0), torch.tensor(5.0)) < 30
    tensor(True)
    """
    cells = [
        _cell(data, way, shot, answers, seed)
        for data in sets
        if data.num_classes > 1 and data.counts.min() > 1
        for way in sorted({min(way, data.num_classes) for way in ways})
        for shot in sorted({min(shot, int(data.counts.min()) - 1) for shot in shots})
    ]
    if not cells:
        return None
    usual = torch.tensor(USUAL, dtype=torch.float64)
    theta = usual.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([theta], max_iter=50, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        scale = [_at(theta, way, shot) for way, shot, _, _ in cells]
        losses = [cross_entropy(s * x, y) for s, (_, _, x, y) in zip(scale, cells, strict=True)]
        value = torch.stack(losses).mean() + PULL * (theta - usual)[1:].square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    return Scale(*(round(x, 4) for x in theta.tolist()))


def scale_of(model: GraphFewShot) -> Scale:
    """The scale of prototypes on a model's features: its own, or the usual one."""
    own = model.calibration.prototypes
    return USUAL if own is None else Scale(*own)


def calibrated_prototypes(model: GraphFewShot) -> FewShotCall:
    """The prototypes method with that scale."""
    return partial(prototypes, scale=scale_of(model))


def _at(theta: Tensor, way: int, shot: int) -> Tensor:
    by = torch.tensor([1.0, shot, way / 5], dtype=theta.dtype).log()
    by[0] = 1.0
    return (theta @ by).exp()


def _cell(data: LabelledSet, way: int, shot: int, answers: int, seed: int) -> Cell:
    query = min(QUERY, int(data.counts.min()) - shot)
    episodes = max(1, answers // (way * query))
    sampler = EpisodeSampler(data, way=way, shot=shot, query=query, episodes=episodes, seed=seed)
    found, labels = [], []
    for episode in sampler:
        assert episode.support is not None
        assert episode.query is not None
        found.append(cosines(episode.support, episode.query).flatten(0, 1).double())
        labels.append(episode.query_labels.flatten())
    return way, shot, torch.cat(found), torch.cat(labels)
