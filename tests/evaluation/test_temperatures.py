"""The temperatures of a class graph are fitted to probabilities, and to nothing else."""

import copy
from contextlib import suppress

import pytest
import torch

from fewshot.core.modes import Mode
from fewshot.data.synthetic import made_up_features
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.scores import evaluate, in_mode
from fewshot.evaluation.temperatures import LEVEL, SHOT, Cell, fit_temperatures
from fewshot.graph.class_graph import ClassGraph
from fewshot.graph.temperature import MODES

DATA = made_up_features(12, 40)
QUICK = {"ways": [5], "shots": [1, 3], "answers": 300}


def surer(by):
    """A graph that is surer of its answers than the shipped one."""
    graph = ClassGraph.pretrained()
    with torch.no_grad():
        for mode in MODES:
            getattr(graph.temperature, mode)[0] += by
    return graph.requires_grad_(False)


@pytest.fixture
def graph():
    return surer(1.5)


def score(graph, mode):
    sampler = EpisodeSampler(DATA, way=5, shot=1, query=10, episodes=100, seed=5)
    return evaluate(in_mode(graph, mode), sampler, method="class graph", mode=mode)


def test_a_graph_that_is_too_sure_is_calibrated(graph):
    before = {mode: score(graph, mode) for mode in Mode}
    fit_temperatures(graph, graph, DATA, **QUICK)
    for mode in Mode:
        after = score(graph, mode)
        if mode.known:  # with shares to fill, far too high a temperature can be too far to come back from
            assert after.nll <= before[mode].nll
            continue
        assert after.nll < before[mode].nll
        assert after.ece < 0.7 * before[mode].ece
        assert after.per_episode.equal(before[mode].per_episode)  # the order of the classes stays


def test_nothing_else_changes(graph):
    before = copy.deepcopy(graph.state_dict())
    fit_temperatures(graph, graph, DATA, **QUICK)
    moved = {f"temperature.{mode}" for mode in MODES}
    for name, value in graph.state_dict().items():
        same = value == before[name]
        if name in moved:
            same[[LEVEL, SHOT]] = True  # of a single way no power is fitted
        assert same.all(), name
    again = ClassGraph.pretrained()  # as it is after a training, which changes nothing
    again.load_state_dict(before)
    fit_temperatures(again, again, DATA, **QUICK)
    assert again.state_dict()["temperature.joint"].equal(graph.temperature.joint)


@pytest.mark.parametrize("shares", ["balanced", "dirichlet:2"])
@pytest.mark.parametrize("mode", Mode)
def test_logits_with_one_temperature_give_those_with_another(mode, shares):
    graph = surer(0.3)
    (episode,) = EpisodeSampler(DATA, way=5, shot=2, query=8, episodes=4, batch=4, queries=shares)
    usual = ClassGraph.pretrained().requires_grad_(False)
    expected = in_mode(usual, mode)(episode)
    heard = []
    graph.temperature.register_forward_hook(lambda _, asked, found: heard.append((asked, found)))
    logits = in_mode(graph, mode)(episode)
    cell = Cell(*heard.pop(), logits, episode.query_labels, episode.proportions)
    apart = (cell.answers(lambda asked: usual.temperature(*asked)).softmax(-1) - expected.softmax(-1)).abs()
    # Given shares are approached in a fixed number of rounds, from another start here.
    assert apart.mean() < (0.01 if mode.known else 1e-5)


@pytest.mark.parametrize(("classes", "images"), [(6, 10), (8, 5)])
@pytest.mark.parametrize("way", [5, 20])
def test_few_classes_do_not_make_others_worse(classes, images, way):
    usual, fitted = surer(0.0), surer(0.0)
    fit_temperatures(fitted, fitted, made_up_features(classes, images, seed=1))
    others = made_up_features(40, 20, seed=99)
    sampler = EpisodeSampler(others, way=way, shot=1, query=10, episodes=40)
    for mode in Mode:
        before, after = (evaluate(in_mode(g, mode), sampler, method="x").nll for g in (usual, fitted))
        assert after < before + 0.02


def test_nothing_is_fitted_to_few_classes_or_single_images(graph):
    before = copy.deepcopy(graph.state_dict())
    for few in (made_up_features(4, 20), made_up_features(40, 1), made_up_features(5, 7)):
        fit_temperatures(graph, graph, few, **QUICK)
    assert all(value.equal(before[name]) for name, value in graph.state_dict().items())


def test_a_graph_is_no_longer_listened_to(graph):
    def fails(*_, **__):
        raise RuntimeError("no answer")

    for call in (fails, graph):
        with suppress(RuntimeError):
            fit_temperatures(graph, call, DATA, **QUICK)
        assert not graph.temperature._forward_hooks
