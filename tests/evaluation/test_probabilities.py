"""Thresholds of sets and the scale of prototypes, from classes of one kind to other classes of that kind."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from fewshot import backbones
from fewshot.core.modes import Mode
from fewshot.data.synthetic import made_up_features
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.prototype_scale import calibrated_prototypes, fit_scale, scale_of
from fewshot.evaluation.relations import made_up_relations
from fewshot.evaluation.scores import as_predict, evaluate
from fewshot.evaluation.sure_sets import Source, answered, calibrate, coverage
from fewshot.graph.class_graph import ClassGraph
from fewshot.methods.prototypes import SCALE, USUAL, prototypes
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.sure_sets import LEVELS, Setting, sure_sets

GRAPH = ClassGraph.pretrained()
OLD, NEW = made_up_features(60, 20, size=8), made_up_features(60, 20, seed=1, size=8)


def test_sets_hold_new_classes_as_often_as_asked_for():
    grid = {"ways": [5], "shots": [1], "queries": [3], "answers": 3000}
    found = calibrate([Source(GRAPH, OLD)], **grid, modes=["inductive", "joint"])
    assert set(found.grids) == {("inductive", False), ("joint", False)}
    for mode in ("inductive", "joint"):
        here = Setting(mode, False, 5, 1, 3)
        p, labels = map(np.concatenate, zip(*answered(Source(GRAPH, NEW), here, 200, seed=3), strict=True))
        assert p.shape == (200 * 15, 5)
        sizes = []
        for level in (0.8, 0.9, 0.95):
            sets = sure_sets(p, found.threshold(level, here), p.argmax(1))
            held, size = coverage(sets, labels)
            assert held == pytest.approx(level, abs=0.03)
            sizes.append(size)
        assert sizes == sorted(sizes)


def test_cells_are_those_for_which_there_are_classes_and_images():
    few = made_up_features(4, 6, size=8)
    related = made_up_relations(few)
    found = calibrate([Source(GRAPH, few, related)], answers=20)
    assert set(found.grids) == {(mode, told) for mode in Mode for told in (False, True)}
    for (mode, _), grid in found.grids.items():
        assert grid.ways == (2, 4)
        assert grid.shots == (1, 5)
        assert grid.queries == (1,)  # five of six images are supports
        assert grid.thresholds.shape == (2, 2, 1, len(LEVELS)), mode
    tiny = made_up_features(3, 2, size=8)
    assert calibrate([Source(GRAPH, tiny)], answers=20).grids["joint", False].shots == (1,)
    assert calibrate([Source(GRAPH, made_up_features(1, 9))]) is None
    assert calibrate([Source(GRAPH, made_up_features(4, 1))]) is None


def test_sources_count_alike_as_far_as_they_have_the_classes():
    grid = {"ways": [2, 12], "shots": [1], "queries": [1], "answers": 400, "modes": ["inductive"]}
    large = Source(GRAPH, OLD)
    alone = calibrate([large], **grid).grids["inductive", False].thresholds
    small = Source(GRAPH, made_up_features(4, 20, seed=5, size=8))
    both = calibrate([small, large], **grid).grids["inductive", False].thresholds
    assert np.array_equal(alone[1], both[1])
    assert not np.array_equal(alone[0], both[0])


def test_the_scale_has_the_least_cross_entropy():
    scale = fit_scale([OLD], ways=[5], shots=[1, 5], answers=3000)

    def loss(shot: int, factor: float) -> float:
        sampler = EpisodeSampler(OLD, way=5, shot=shot, query=15, episodes=40)
        losses = [
            cross_entropy(factor * prototypes(e.support, e.query, scale=scale).mT, e.query_labels)
            for e in sampler
        ]
        return torch.stack(losses).mean().item()

    for shot in (1, 5):
        assert loss(shot, 1.0) < min(loss(shot, 0.7), loss(shot, 1.4))
    assert scale.shot > 0


def test_probabilities_of_prototypes_are_calibrated_on_new_classes_of_the_kind():
    scale = fit_scale([OLD])
    for way, shot in ((5, 1), (5, 5), (20, 1)):
        sampler = EpisodeSampler(NEW, way=way, shot=shot, query=10, episodes=100)
        ours, ten = (
            evaluate(as_predict(lambda s, q, x=x, **_: prototypes(s, q, scale=x)), sampler, method="p")
            for x in (scale, SCALE)
        )
        assert ours.accuracy == ten.accuracy
        assert ours.ece < 0.04
        assert ours.nll < ten.nll


def test_no_classes_give_no_scale():
    assert fit_scale([]) is None
    assert fit_scale([made_up_features(1, 9), made_up_features(4, 1)]) is None


def test_a_model_without_a_scale_has_the_usual_one():
    model = GraphFewShot(backbones.conv4(width=4), GRAPH)
    assert scale_of(model) == USUAL
    model.calibration = replace(model.calibration, prototypes=(1.0, 0.5, 0.0))
    support, query = torch.randn(1, 5, 4, 8), torch.randn(1, 7, 8)
    expected = prototypes(support, query, scale=2 * float(np.e))
    torch.testing.assert_close(calibrated_prototypes(model)(support, query), expected)
