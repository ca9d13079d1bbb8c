"""Training on episodes: it learns, follows from its seed, and ends with the best weights."""

import copy
import io
import pickle
from importlib import import_module
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from fewshot.core.errors import InputError
from fewshot.core.loop import Recorder
from fewshot.core.seeds import seeded
from fewshot.data.labelled import FeatureSet
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.scores import as_predict, evaluate
from fewshot.graph.class_graph import ClassGraph
from fewshot.methods.shared import fitting
from fewshot.methods.shared.fitting import EpisodicLoss, Silent, fit_on_episodes, fit_on_features
from fewshot.methods.shared.material import Material

SHAPE = {"way": 3, "shot": 2, "query": 4, "seed": 0}


class Stretched(nn.Module):
    """Nearest mean by inner product, each feature with a weight of its own that has to be learned."""

    def __init__(self, features):
        super().__init__()
        self.weight = nn.Parameter(0.1 * torch.randn(features))

    def forward(self, support, query, *, joint=False, **_):
        return (query * self.weight) @ support.mean(2).transpose(1, 2)


def clusters(seed):
    """Classes differ in the first 4 of 12 features; the others are noise."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(10, 1, 12, generator=generator) * torch.tensor([2.0] * 4 + [0.0] * 8)
    points = centres + torch.randn(10, 20, 12, generator=generator)
    return FeatureSet(points.flatten(0, 1), torch.arange(200) // 20, tuple("abcdefghij"))


@pytest.fixture
def module():
    torch.manual_seed(0)
    return Stretched(12)


def loss_on(data, module):
    episode = next(iter(EpisodeSampler(data, way=3, shot=2, query=4, batch=50, episodes=50, seed=7)))
    return EpisodicLoss(module)(episode.support, episode.query, episode.query_labels)[0].item()


def test_learns_from_base_classes_what_holds_for_others(module):
    train, others = clusters(0), clusters(1)
    before = loss_on(others, module)
    after = loss_on(others, fit_on_episodes(module, train, None, steps=60, lr=0.1, **SHAPE))
    assert after < 0.5 * before
    assert not module.training


def test_the_same_seed_gives_the_same_weights(module):
    data = clusters(0)
    noisy = nn.Sequential()  # dropout draws random numbers in training
    module.noise = noisy.append(nn.Dropout(0.5))
    module.forward = lambda support, query, **_: Stretched.forward(module, module.noise(support), query)
    start = copy.deepcopy(module.state_dict())
    results = []
    for seed in (0, 0, 1):
        module.load_state_dict(start)
        torch.rand(3)  # what was drawn before does not matter
        fit_on_episodes(module, data, data, steps=5, lr=0.1, **{**SHAPE, "seed": seed})
        results.append(module.weight.detach().clone())
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_ends_with_the_best_weights_on_the_validation_classes(module):
    train, val = clusters(0), clusters(1)
    # The validation classes differ in what is noise in training: the more is learned the worse.
    val = FeatureSet(val.items.flip(1), val.labels, val.class_names)
    module.weight.data.fill_(1.0)
    sampler = EpisodeSampler(val, **{**SHAPE, "batch": 16, "episodes": 100})
    last, other = copy.deepcopy(module), copy.deepcopy(module)
    fit_on_episodes(last, train, None, steps=40, lr=0.3, **SHAPE)
    few = FeatureSet(val.items[:40], val.labels[:40], ("a", "b"))  # no 3-way episode fits into it
    assert torch.equal(fit_on_episodes(other, train, few, steps=40, lr=0.3, **SHAPE).weight, last.weight)
    best = fit_on_episodes(module, train, val, steps=40, lr=0.3, val_episodes=100, **SHAPE)
    score = [evaluate(as_predict(m), sampler, method="m").accuracy for m in (best, last)]
    assert score[0] > score[1] + 5


def test_a_loss_of_ones_own_comes_first(module):
    episode = next(iter(EpisodeSampler(clusters(0), batch=2, **SHAPE)))
    module.losses = lambda support, query, labels, *, joint: (module.weight.sum(), module(support, query))
    loss, accuracy = EpisodicLoss(module)(episode.support, episode.query, episode.query_labels)
    assert loss == module.weight.sum()
    assert 0 <= accuracy <= 1


def test_random_numbers_go_on_as_if_nothing_had_been_drawn(module):
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    with seeded(3):
        inside = torch.rand(2)
    fit_on_episodes(module, clusters(0), None, steps=2, lr=0.1, **SHAPE)
    assert torch.equal(torch.rand(2), expected)
    with seeded(3):
        assert torch.equal(torch.rand(2), inside)


def test_on_features_the_method_is_built_for_their_size():
    graph, data = ClassGraph(), clusters(0)
    material = Material(way=3, shot=2, query=4, seed=0, graph=graph, train=data, val=data)
    torch.rand(1)
    first = fit_on_features(material, Stretched, steps=3, lr=0.1, val_episodes=10)
    torch.rand(1)
    again = fit_on_features(material, Stretched, steps=3, lr=0.1, val_episodes=10)
    assert torch.equal(first.weight, again.weight)
    assert first.weight.shape == (12,)
    with pytest.raises(InputError, match="features: expected some of the base classes"):
        fit_on_features(Material(way=3, shot=2, query=4, seed=0, graph=graph), Stretched, steps=3, lr=0.1)


@pytest.mark.parametrize("name", ["feat", "gnn", "egnn"])
def test_methods_are_made_of_a_material(name, monkeypatch):
    method = import_module(f"fewshot.methods.{name}")
    joint_seen = []

    def briefly(material, build, **options):
        joint_seen.append(options.get("joint", False))
        return fit_on_features(material, build, **{**options, "steps": 2, "batch": 2})

    monkeypatch.setattr(method, "fit_on_features", briefly)
    material = Material(way=3, shot=1, query=2, seed=0, graph=ClassGraph(), train=clusters(0))
    made = getattr(method, f"make_{name}")(material)
    support, query = torch.randn(2, 3, 1, 12), torch.randn(2, 6, 12)
    assert torch.isfinite(made(support, query, joint=True)).all()
    assert torch.equal(made(support, query), made(support, query))  # no dropout
    assert joint_seen == ([False, True] if name == "egnn" else [False])


def test_what_was_trained_can_be_kept(module):
    fitted = fit_on_episodes(module, clusters(0), None, steps=2, lr=0.1, **SHAPE)
    again = pickle.load(io.BytesIO(pickle.dumps(fitted)))
    assert torch.equal(again.weight, fitted.weight)
    assert isinstance(Silent(), Recorder)


def test_a_method_that_learns_tells_how_far_it_is(module, monkeypatch):
    told, clock = [], iter(range(0, 1000, 6))
    monkeypatch.setattr(fitting, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    fit_on_episodes(module, clusters(0), None, steps=7, lr=0.1, tell=told.append, **SHAPE)
    assert told == ["step 2 of 7", "step 4 of 7", "step 6 of 7"]
