"""MAML and ANIL: the same steps as by hand, and what each of them adapts."""

import copy
import sys
from importlib.util import find_spec

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from fewshot import backbones
from fewshot.core.errors import InputError
from fewshot.data.labelled import FeatureSet
from fewshot.data.packed import PackedDataset, Splits
from fewshot.graph.class_graph import ClassGraph
from fewshot.methods import anil, maml
from fewshot.methods.shared import adaptation
from fewshot.methods.shared.adaptation import Adaptation, Embedding, learn2learn_maml, parts
from fewshot.methods.shared.material import Material
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.preprocess import Preprocess

needs_learn2learn = pytest.mark.skipif(
    find_spec("learn2learn") is None, reason="learn2learn is not installed, an extra"
)


@pytest.fixture
def material(tmp_path):
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)

    def split(names):
        own = torch.randint(256, (len(names), 1, 1, 16, 16), generator=generator)
        noise = torch.randint(-60, 60, (len(names), 8, 1, 16, 16), generator=generator)
        images = (own + noise).clamp(0, 255).to(torch.uint8).flatten(0, 1)
        return PackedDataset(images, torch.arange(len(images)) // 8, tuple(names))

    images = Splits(split("abcdef"), split("ghij"), split("klmn"), "made up", "", tmp_path)
    model = GraphFewShot(backbones.conv4(1, 8), ClassGraph(), preprocess=Preprocess(16, 1)).eval()
    for part in model.backbone.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_var.uniform_(0.5, 1.5)
    return Material(way=3, shot=2, query=2, seed=0, graph=model.graph, model=model, images=images)


@pytest.fixture
def episode(material):
    x = material.images.val.items.view(4, 8, 1, 16, 16)
    support = torch.stack([x[:3, :2], x[1:, 2:4]])
    return support, torch.stack([x[:3, 4:].flatten(0, 1), x[1:, 4:].flatten(0, 1)])


def whole(material, lr=0.05, **options):
    model, embedding, head = parts(material)
    return Adaptation(model.preprocess, nn.Sequential(embedding, head), 3, lr=lr, **options)


def only_head(material, lr=0.05, **options):
    model, embedding, head = parts(material)
    return Adaptation(nn.Sequential(model.preprocess, embedding), head, 3, lr=lr, **options)


def by_hand(method, support, query, steps, create_graph):
    """Logits by torch.func and autograd alone."""
    network = method.learner.module
    weights = dict(network.named_parameters())
    x, labels = method.before(support.flatten(0, 1)), torch.arange(3).repeat_interleave(2)
    for _ in range(steps):
        loss = cross_entropy(functional_call(network, weights, x), labels)
        slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=create_graph)
        weights = {k: w - 0.05 * slope for (k, w), slope in zip(weights.items(), slopes, strict=True)}
    return functional_call(network, weights, method.before(query))


@needs_learn2learn
@pytest.mark.parametrize("make", [whole, only_head])
def test_equals_the_steps_by_hand(material, episode, make):
    method = make(material, steps=3)
    nn.init.normal_(parts_head(method).weight, std=0.1)
    logits = method(*episode)
    for b in range(2):
        expected = by_hand(method, episode[0][b], episode[1][b], 3, create_graph=True)
        torch.testing.assert_close(logits[b], expected, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(method(*episode), logits, atol=1e-5, rtol=1e-5)


@needs_learn2learn
def test_training_differentiates_through_the_steps(material, episode):
    method = whole(material, steps=2)
    nn.init.normal_(parts_head(method).weight, std=0.1)
    weight = parts_head(method).weight
    found = torch.autograd.grad(method(*episode)[0].square().sum(), weight)[0]
    logits = by_hand(method, episode[0][0], episode[1][0], 2, create_graph=True)
    torch.testing.assert_close(found, torch.autograd.grad(logits.square().sum(), weight)[0])
    logits = by_hand(method, episode[0][0], episode[1][0], 2, create_graph=False)
    assert not torch.allclose(found, torch.autograd.grad(logits.square().sum(), weight)[0], rtol=1e-2)


@needs_learn2learn
@pytest.mark.parametrize("make", [whole, only_head])
def test_adapting_lowers_the_loss_on_the_supports(material, episode, make):
    method, labels = make(material, lr=0.01, steps=10), torch.arange(3).repeat_interleave(2)
    x = method.before(episode[0][0].flatten(0, 1))
    before = cross_entropy(method.learner(x), labels)
    after = cross_entropy(method.adapt(x, labels)(x), labels)
    assert after < 0.9 * before


@needs_learn2learn
def test_an_episode_leaves_the_method_as_it_was(material, episode):
    for make in (whole, only_head):
        method = make(material)
        before = copy.deepcopy(method.state_dict())
        method(*episode)
        assert all(torch.equal(value, before[key]) for key, value in method.state_dict().items())


@needs_learn2learn
def test_maml_adapts_the_backbone_and_anil_does_not(material, episode):
    labels = torch.arange(3).repeat_interleave(2)
    for make, adapts in ((whole, True), (only_head, False)):
        method = make(material)
        nn.init.normal_(parts_head(method).weight, std=0.1)
        learner = method.adapt(method.before(episode[0][0].flatten(0, 1)), labels)
        names = {name for name, _ in learner.named_parameters()}
        assert any("conv1" in name for name in names) == adapts
        for (_, new), (_, old) in zip(
            learner.named_parameters(), method.learner.named_parameters(), strict=True
        ):
            assert not torch.equal(new, old)


@needs_learn2learn
def test_queries_do_not_see_each_other(material, episode):
    support, query = episode
    method = whole(material).train()  # which changes nothing
    with torch.no_grad():
        logits = method(support, query, joint=True)
        order = torch.randperm(12)
        torch.testing.assert_close(method(support, query[:, order]), logits[:, order], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(method(support, query[:, 4:5]), logits[:, 4:5], atol=1e-4, rtol=1e-4)
        alone = method(support[1:], query[1:])
        torch.testing.assert_close(alone[0], logits[1], atol=1e-4, rtol=1e-4)


@needs_learn2learn
@pytest.mark.parametrize("make", [whole, only_head])
def test_padding_says_nothing(material, episode, make):
    support, query = episode
    method = make(material)
    with torch.no_grad():
        first = torch.tensor([True, False]).expand(2, 3, 2)
        other = support.clone()
        other[:, :, 1] = 255
        masked = method(other, query, support_mask=first)
        torch.testing.assert_close(masked, method(support[:, :, :1], query), atol=1e-5, rtol=1e-5)
        two = torch.tensor([[True, True, False]] * 2)
        other = support.clone()
        other[:, 2] = 255
        masked = method(support, query, class_mask=two)
        assert (masked[..., 2] == -torch.inf).all()
        torch.testing.assert_close(method(other, query, class_mask=two), masked)


@needs_learn2learn
@pytest.mark.parametrize("module", [maml, anil])
def test_is_made_of_a_checkpoint_that_stays_as_it_is(material, episode, module, monkeypatch):
    def briefly(method, material, **options):
        return adaptation.meta_train(
            method, material, **{**options, "steps": 2, "val_episodes": 2, "lr": 0.01}
        )

    monkeypatch.setattr(module, "meta_train", briefly)
    make = getattr(module, f"make_{module.__name__.split('.')[-1]}")
    before = copy.deepcopy(material.model.state_dict())
    methods = [make(material) for _ in range(2)]
    assert all(torch.equal(value, before[key]) for key, value in material.model.state_dict().items())
    with torch.no_grad():
        logits = [method(*episode) for method in methods]
    assert logits[0].shape == (2, 12, 3)
    assert torch.equal(*logits)  # the same seed


@needs_learn2learn
def test_another_way_is_refused(material, episode):
    with pytest.raises(InputError, match="support: expected 3 classes"):
        whole(material)(episode[0][:, :2], episode[1])


def test_embedding_has_mean_0_and_variance_1(material):
    images = material.model.preprocess(material.images.train.items)
    features = Embedding(material.model.backbone, images)(images)
    torch.testing.assert_close(features.mean(0), torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(features.square().mean(), torch.tensor(1.0))


def test_on_features_alone_it_says_what_is_missing():
    data = FeatureSet(torch.randn(4, 2), torch.arange(4) // 2, ("a", "b"))
    with pytest.raises(InputError, match="expected a checkpoint with images"):
        parts(Material(way=2, shot=1, query=1, seed=0, graph=ClassGraph(), train=data))


def test_without_learn2learn_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "learn2learn", None)
    monkeypatch.setitem(sys.modules, "learn2learn.algorithms", None)
    with pytest.raises(InputError, match="need learn2learn"):
        learn2learn_maml()


def test_what_learn2learn_prints_stays_unseen(monkeypatch, tmp_path, capfd, recwarn):
    package = tmp_path / "learn2learn"
    package.mkdir()
    noise = "import sys, warnings\nprint('noise')\nprint('noise', file=sys.stderr)\nwarnings.warn('noise')\n"
    (package / "__init__.py").write_text(noise)
    (package / "algorithms.py").write_text(noise + "class MAML: noisy = True\n")
    for name in [name for name in sys.modules if name.split(".")[0] == "learn2learn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    assert learn2learn_maml().noisy
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list
    for name in ("learn2learn", "learn2learn.algorithms"):
        del sys.modules[name]


def parts_head(method):
    """The linear layer at the end of what is adapted."""
    return next(part for part in method.learner.modules() if isinstance(part, nn.Linear))
