"""The validation classes: their episodes, and scores on them while a model trains."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from fewshot.core.errors import InputError
from fewshot.core.seeds import seed
from fewshot.data.labelled import LabelledSet
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.scores import Predict, evaluate, in_mode
from fewshot.model.few_shot import GraphFewShot
from fewshot.training.calibration import calibrated
from fewshot.training.encoding import encoded
from fewshot.training.processes import ALONE, Workers
from fewshot.training.samplers import drawn_from

VAL_EPISODES = 300
VAL_IMAGES = 4000  # about this many images of a split are encoded at each validation


@dataclass(frozen=True)
class ImageValidation:
    """Scores of a backbone on validation images, its features centred on their mean over base images.

    Args:
        base, val: images of the base classes and of the validation classes.
        samplers: of episodes of ``val``, each of this process's share.
        workers: the processes that share the images and the episodes.
    """

    base: LabelledSet
    val: LabelledSet
    samplers: Sequence[EpisodeSampler]
    workers: Workers = ALONE

    def calibrated(self, model: GraphFewShot) -> AbstractContextManager[None]:
        """The context in which `scores` is called; see `fewshot.training.calibration.calibrated`."""
        return calibrated(model, self.base, self.workers)

    def scores(self, model: GraphFewShot, methods: Sequence[Predict]) -> dict[str, float]:
        """The methods' mean accuracy on features of the images, per shot and over all shots."""
        features = encoded(model, self.val, self.workers)
        mean = encoded(model, self.base, self.workers).mean()
        centred = replace(features, items=features.items - mean)
        scores = {}
        for sampler in self.samplers:
            own = drawn_from(sampler, centred)
            found = [accuracy(predict, own, self.workers) for predict in methods]
            scores[f"val_{sampler.shot}-shot"] = sum(found) / len(found)
        return {"val_accuracy": sum(scores.values()) / len(scores), **scores}


def validation_samplers(
    val: LabelledSet,
    run_seed: int,
    workers: Workers = ALONE,
    *,
    queries: str = "balanced",
    noise: float = 0.0,
) -> list[EpisodeSampler]:
    """A process's own of a fixed set of 5-way episodes, 1-shot and 5-shot, as far as classes and images go.

    Raises:
        InputError: fewer than two classes, or a class of a single image.
    """
    least = int(val.counts.min()) if val.num_classes else 0
    if val.num_classes < 2 or least < 2:
        raise InputError(
            f"expected at least 2 classes of at least 2 images, got {val.num_classes} classes, the smallest "
            f"of {least}"
        )
    return [
        EpisodeSampler(
            val,
            way=min(5, val.num_classes),
            shot=shot,
            query=min(15, least - shot),
            batch=64,
            episodes=VAL_EPISODES,
            seed=seed(run_seed, "validation"),
            queries=queries,
            label_noise=noise,
            rank=workers.rank,
            world=workers.world,
        )
        for shot in (1, 5)
        if least > shot and (noise == 0 or round(noise * shot) > 0)
    ]


def accuracy(predict: Predict, sampler: EpisodeSampler, workers: Workers = ALONE) -> float:
    """The mean accuracy in percent over the episodes of a sampler, of all processes."""
    return evaluate(predict, sampler, method="validation", mode="", gather=workers.gather).accuracy


def graph_predict(model: GraphFewShot, mode: str) -> Predict:
    """The model's transform and graph in a mode, from episodes of features to logits."""
    return in_mode(model.classify, mode)
