import sys
from collections import defaultdict
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import nn

from fewshot import backbones
from fewshot.core.errors import InputError
from fewshot.core.seeds import seed
from fewshot.data.packed import PackedDataset, Splits
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.graph.class_graph import ClassGraph
from fewshot.methods.prototypes import prototypes
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.preprocess import Preprocess
from fewshot.training import build, encoding, losses, validation
from fewshot.training.config import Augment, Config, Evaluate, Graph, Images, Meta, Pretrain
from fewshot.training.plan import planned
from fewshot.training.processes import ALONE, Workers
from fewshot.training.stages import graph, meta, pretrain

STAGES = ("pretrain", "meta", "graph")
CONFIG = Config(
    images=Images(size=16),
    augment=Augment(crop=1, flip=True, noise=0.1),
    pretrain=Pretrain(epochs=2, batch=8),
    meta=Meta(steps=5, batch=2, way=3, query=2, hard=0.5),
    graph=Graph(steps=9, batch=2, ways=(2, 3), shots=(1, 2), query=2, queries=("balanced",), noise=(0.0,)),
    evaluate=Evaluate(ways=(2,), shots=(1,), query=1, episodes=2),
    precision="32-true",
)


@pytest.fixture(scope="module")
def data():
    images = torch.randint(
        256, (48, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    names = tuple("abcdef")
    taxonomy = tuple(f"{'x' if i < 3 else 'y'}/{name}" for i, name in enumerate(names))
    return PackedDataset(images, torch.arange(48) // 8, names, None, taxonomy)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return GraphFewShot(
        backbones.conv4(1, 4), ClassGraph(), preprocess=Preprocess(16, 1), precision="32-true"
    )


def splits_of(data):
    return Splits(data, data, data, "images", "", Path())


def begun(name, model, data, workers=ALONE):
    """A stage on a model."""
    only = replace(CONFIG, **{other: None for other in STAGES if other != name})
    (training,) = planned(only, splits_of(data), workers).stages
    return training.begin(model)


@pytest.mark.parametrize("name", STAGES)
def test_a_steps_batch_is_the_same_wherever_one_starts(name, model, data):
    stage = begun(name, model, data)
    whole = list(islice(stage.batches(0), stage.steps))
    assert len(whole) == stage.steps
    for start in range(stage.steps):
        torch.testing.assert_close(next(stage.batches(start)), whole[start], rtol=0, atol=0)
    assert not torch.equal(whole[0][0], whole[4][0])


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_trains_its_parameters(name, model, data):
    stage = begun(name, model, data)
    trained = "graph." if name == "graph" else "backbone."
    before = {key: value.clone() for key, value in model.state_dict().items()}
    for batch in islice(stage.batches(0), 3):
        loss, accuracy = stage.module.train()(*batch)
        assert 0 <= accuracy <= 1
        stage.optimizer.zero_grad()
        loss.backward()
        stage.optimizer.step()
    changed = [key for key, value in model.state_dict().items() if not torch.equal(value, before[key])]
    assert changed
    assert all(key.startswith(trained) for key in changed)


@pytest.mark.parametrize("name", ["pretrain", "graph"])
def test_two_processes_share_a_batch(name, model, data, monkeypatch):
    monkeypatch.setattr(
        encoding, "own_blocks", lambda count, *_: slice(0, count)
    )  # there is no other process
    labels = {"pretrain": 1, "graph": 2}[name]
    whole = next(begun(name, model, data).batches(1))[labels]
    shares = [next(begun(name, model, data, Workers(rank, 2)).batches(1))[labels] for rank in range(2)]
    torch.testing.assert_close(torch.stack(shares, 1).flatten(0, 1), whole)


def test_samplers_are_made_once_before_anything_starts(model, data, monkeypatch):
    monkeypatch.setattr(validation, "VAL_EPISODES", 5)
    plan = planned(CONFIG, splits_of(data))

    def refuse(self, *_, **__):
        raise AssertionError("another sampler")

    monkeypatch.setattr(EpisodeSampler, "__init__", refuse)
    assert tuple(stage.name for stage in plan.stages) == STAGES
    for training in plan.stages:
        stage = training.begin(model)
        next(stage.batches(3))
        with stage.calibrated():
            stage.validate()
    assert [scores.method for scores in plan.final.scores(model)] == ["prototypes"] + ["class-graph"] * 3


def test_an_epoch_sees_every_image_once():
    batches = pretrain.batch_indices(12, 12, 4, 0, 7)
    epochs = [torch.cat(list(islice(batches, 3))) for _ in range(2)]
    for epoch in epochs:
        assert sorted(epoch.tolist()) == list(range(12))
    assert not torch.equal(*epochs)


@pytest.mark.parametrize("epoch", [8, 12, 28])  # images, of 13: fewer, nearly all, more than twice as many
def test_a_steps_images_are_those_of_its_epochs_shuffle(epoch):
    steps, expected = epoch // 4, []
    for step in range(3 * steps):
        generator = torch.Generator().manual_seed(seed(7, "pretrain", "shuffle", step // steps))
        order = torch.randperm(13, generator=generator).tolist() * 3
        expected.append(order[step % steps * 4 :][:4])
    for start in range(3 * steps):
        batches = islice(pretrain.batch_indices(13, epoch, 4, start, 7), 3 * steps - start)
        assert [batch.tolist() for batch in batches] == expected[start:]


@pytest.mark.parametrize(("start", "shuffles"), [(0, 2), (5, 2), (6, 1), (11, 1)])
def test_images_are_shuffled_once_per_epoch(start, shuffles, model, data, monkeypatch):
    stage, seeds = begun("pretrain", model, data), []
    monkeypatch.setattr(pretrain, "seed", lambda *stream: seeds.append(stream) or seed(*stream))
    assert len(list(stage.batches(start))) == stage.steps - start == 12 - start
    assert [stream[1:3] for stream in seeds].count(("pretrain", "shuffle")) == shuffles


def test_meta_mixes_any_classes_with_near_ones(data):
    anywhere, near = meta.samplers(CONFIG.meta, data, 0)
    assert anywhere.batch == near.batch == 1
    assert [s.batch for s in meta.samplers(Meta(way=3, query=2), data, 0)] == [4]


def test_near_classes_need_superclasses_or_a_taxonomy(data):
    flat = replace(data, superclasses=None, taxonomy=None)
    with pytest.raises(InputError, match=r"hard: expected 0, as these classes have no .*, got 0\.5"):
        meta.samplers(Meta(way=3, query=2, hard=0.5), flat, 0)


def test_the_graphs_steps_take_all_conditions_in_turn(model, data):
    shapes = [(s.shape[1], s.shape[2]) for s, *_ in islice(begun("graph", model, data).batches(0), 8)]
    assert shapes == [(2, 1), (2, 2), (3, 1), (3, 2)] * 2


def test_prototype_loss_is_the_yardsticks_cross_entropy():
    support, query = torch.randn(2, 3, 2, 5), torch.randn(2, 4, 5)
    labels = torch.randint(3, (2, 4))
    loss, accuracy = losses.PrototypeLoss()(support, query, labels, torch.full((2, 3), 1 / 3))
    scores = prototypes(support, query, scale=10.0)  # where the learned one starts
    torch.testing.assert_close(loss, nn.functional.cross_entropy(scores.flatten(0, 1), labels.flatten()))
    assert accuracy == (scores.argmax(-1) == labels).float().mean()


def test_graph_loss_is_the_mean_over_what_the_graph_may_look_at():
    graph = ClassGraph()
    support, query, shares = torch.randn(2, 3, 2, 5), torch.randn(2, 4, 5), torch.full((2, 3), 1 / 3)
    labels = torch.randint(3, (2, 4))
    known = {"proportions": shares}, {"evidence": torch.ones(2, 3)}
    options = [{}, {"joint": True}, *({"joint": True, **given} for given in known)]
    each = [
        nn.functional.cross_entropy(graph(support, query, **o).logits.flatten(0, 1), labels.flatten())
        for o in options
    ]
    loss, _ = losses.GraphLoss(graph)(support, query, labels, shares)
    torch.testing.assert_close(loss, torch.stack(each).mean())


def test_episode_loss_centres_on_the_batchs_own_mean(model):
    class Shifted(nn.Module):
        def forward(self, x):
            return model.backbone(x) + 7.0

    x, labels, shares = torch.randn(10, 1, 16, 16), torch.randint(3, (2, 2)), torch.full((2, 3), 1 / 3)
    each = [
        losses.EpisodeLoss(b, losses.PrototypeLoss(), "32-true")(x, labels, shares, 1)[0]
        for b in (model.backbone, Shifted())
    ]
    torch.testing.assert_close(*each, rtol=1e-3, atol=1e-3)


def test_cosine_classifier_closed_form():
    classifier = losses.CosineClassifier(2, 2, scale=10.0)
    classifier.weight.data = torch.tensor([[2.0, 0.0], [0.0, 0.5]])
    torch.testing.assert_close(classifier(torch.tensor([[3.0, 4.0]])), torch.tensor([[6.0, 8.0]]))


def test_every_stream_of_a_run_has_a_seed_of_its_own(model, data, monkeypatch):
    places, values = defaultdict(set), {}

    def noted(*stream):
        values[stream] = seed(*stream)
        caller = sys._getframe(1)
        places[stream].add((caller.f_code.co_filename, caller.f_code.co_name, caller.f_lineno))
        return values[stream]

    for module in (pretrain, meta, graph, validation, build):
        monkeypatch.setattr(module, "seed", noted)
    monkeypatch.setattr(validation, "VAL_EPISODES", 5)
    build.build(CONFIG, splits_of(data))
    for training in planned(CONFIG, splits_of(data)).stages:
        stage = training.begin(model)
        assert len(list(islice(stage.batches(0), stage.steps))) == stage.steps
    names = {tuple(part for part in stream[1:] if isinstance(part, str)) for stream in values}
    assert names == {
        ("weights",),
        ("validation",),
        ("pretrain", "weights"),
        ("pretrain", "shuffle"),
        ("pretrain", "augment"),
        ("pretrain", "cutmix"),
        ("meta", "episodes", "uniform"),
        ("meta", "episodes", "hard"),
        ("meta", "augment"),
        ("graph", "episodes"),
    }
    assert {stream[0] for stream in values} == {CONFIG.seed}
    assert all(len(lines) == 1 for lines in places.values()), "a stream that two places draw from"
    assert len(set(values.values())) == len(values)


def test_mixed_images_count_for_both_classes(model, data):
    mixing = replace(CONFIG, pretrain=replace(CONFIG.pretrain, cutmix=1.0), meta=None, graph=None)
    (training,) = planned(mixing, splits_of(data)).stages
    stage = training.begin(model)
    x, labels, others, share = next(stage.batches(0))
    assert torch.equal(others, labels.roll(-1))
    assert 0 <= share <= 1
    (plain, _), (other, _) = (stage.module.eval()(x, y) for y in (labels, others))
    loss, _ = stage.module(x, labels, others, share)
    torch.testing.assert_close(loss, share * plain + (1 - share) * other)


def test_two_processes_mix_the_images_of_the_whole_batch(model, data):
    mixing = replace(CONFIG, pretrain=replace(CONFIG.pretrain, cutmix=1.0), meta=None, graph=None)

    def first(workers):
        (training,) = planned(mixing, splits_of(data), workers).stages
        return next(training._batches(model, 0))

    x, labels, others, share = first(ALONE)
    for rank in range(2):
        own = first(Workers(rank, 2))
        torch.testing.assert_close(own[0], x[rank::2])
        assert (own[1].tolist(), own[2].tolist()) == (labels[rank::2].tolist(), others[rank::2].tolist())
        assert own[3] == share


def test_some_steps_mix(model, data):
    mixing = replace(CONFIG, pretrain=replace(CONFIG.pretrain, cutmix=0.5, epochs=20), meta=None, graph=None)
    (training,) = planned(mixing, splits_of(data)).stages
    lengths = [len(batch) for batch in training._batches(model, 0)]
    assert 0.3 < lengths.count(4) / len(lengths) < 0.7
