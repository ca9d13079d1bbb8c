"""Calibration of a trained model's probabilities on the validation classes."""

from __future__ import annotations

from dataclasses import replace

from fewshot.data.packed import PackedDataset, first_of_each
from fewshot.evaluation.prototype_scale import fit_scale
from fewshot.evaluation.relations import with_paths
from fewshot.evaluation.sure_sets import ANSWERS, Source, calibrate
from fewshot.model.calibration import Calibration
from fewshot.model.few_shot import GraphFewShot
from fewshot.training.encoding import encoded
from fewshot.training.processes import ALONE, Workers
from fewshot.training.validation import VAL_IMAGES

OFTEN = 20  # the most queries per image and cell


def calibration_of(
    model: GraphFewShot, val: PackedDataset, seed: int = 0, workers: Workers = ALONE
) -> Calibration:
    """The scale of prototypes, and the thresholds of sets of classes without and with relations.

    Args:
        model: trained.
        val: images of the validation classes; nothing is learnt from fewer than two of them.
        seed: of the episodes.
        workers: the processes that share the images.
    """
    if val.num_classes < 2 or val.counts.min() < 2:
        return Calibration()
    features = encoded(model, replace(first_of_each(val, VAL_IMAGES), paths=val.paths), workers)
    given = with_paths(features, model.known, model.transform)
    answers = min(ANSWERS, OFTEN * len(features))
    sets = calibrate([Source(model.classify, features, given)], answers=answers, seed=seed)
    return Calibration(sets, fit_scale([features], seed=seed))
