"""Calibration of a trained model's probabilities on the validation classes."""

from __future__ import annotations

from dataclasses import replace

from fewshot.data.packed import PackedDataset, first_of_each
from fewshot.evaluation.prototype_scale import fit_scale
from fewshot.evaluation.relations import with_paths
from fewshot.evaluation.sure_sets import ANSWERS, Source
from fewshot.evaluation.sure_sets import calibrate as thresholds
from fewshot.evaluation.temperatures import fit_temperatures
from fewshot.graph.class_graph import ClassGraph
from fewshot.model.calibration import Calibration
from fewshot.model.few_shot import GraphFewShot
from fewshot.training.encoding import encoded
from fewshot.training.processes import ALONE, Workers
from fewshot.training.validation import VAL_IMAGES

OFTEN = 20  # the most queries per image and cell


def calibrate(model: GraphFewShot, val: PackedDataset, seed: int = 0, workers: Workers = ALONE) -> None:
    """Fit what a model's probabilities depend on: the graph's temperatures, and the model's calibration.

    The latter has the scale of prototypes, and thresholds of sets of classes without and with relations.

    Args:
        model: trained, in eval mode; changed in place.
        val: images of the validation classes; nothing is learnt from fewer than two of them, and no
            temperatures from fewer than five, or 40 images.
        seed: of the episodes.
        workers: the processes that share the images.
    """
    if val.num_classes < 2 or val.counts.min() < 2:
        model.calibration = Calibration()
        return
    features = encoded(model, replace(first_of_each(val, VAL_IMAGES), paths=val.paths), workers)
    if isinstance(model.graph, ClassGraph):
        fit_temperatures(model.graph, model.classify, features, seed=seed)
    given = with_paths(features, model.known, model.transform)
    answers = min(ANSWERS, OFTEN * len(features))
    sets = thresholds([Source(model.classify, features, given)], answers=answers, seed=seed)
    model.calibration = Calibration(sets, fit_scale([features], seed=seed))
