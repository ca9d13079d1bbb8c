"""Validation while a model trains: what it scores, what is kept, and that it leaves no trace."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning.fabric import Fabric
from torch.optim.swa_utils import update_bn

from fewshot import backbones
from fewshot.core.errors import InputError
from fewshot.core.loop import fit
from fewshot.data.labelled import LabelledSet
from fewshot.data.packed import PackedDataset, Splits, evenly_spaced, first_of_each
from fewshot.evaluation.scores import as_predict, evaluate
from fewshot.graph.class_graph import ClassGraph
from fewshot.methods.prototypes import prototypes
from fewshot.methods.shared.fitting import Silent
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.preprocess import Preprocess
from fewshot.training import validation
from fewshot.training.calibration import calibrated
from fewshot.training.config import Augment, Config, Evaluate, Graph, Images, Meta, Pretrain
from fewshot.training.plan import planned
from fewshot.training.validation import ImageValidation, validation_samplers

SECTIONS = {
    "pretrain": Pretrain(epochs=2, batch=12),
    "meta": Meta(method="class-graph", steps=3, batch=2, way=3, query=2, validate_every=1),
    "graph": Graph(steps=2, batch=2, ways=(3,), shots=(1,), query=2, validate_every=1),
}


def images(seed):
    """Six classes of eight images, each a pattern with noise."""
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.randint(60, 200, (6, 1, 1, 16, 16), generator=generator)
    noisy = patterns + torch.randint(-60, 55, (6, 8, 1, 16, 16), generator=generator)
    return PackedDataset(noisy.flatten(0, 1).to(torch.uint8), torch.arange(48) // 8, tuple("abcdef"))


SPLITS = Splits(images(0), images(1), images(2), "images", "", Path())


@pytest.fixture(autouse=True)
def few_episodes(monkeypatch):
    monkeypatch.setattr(validation, "VAL_EPISODES", 20)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return GraphFewShot(
        backbones.conv4(1, 8), ClassGraph(), preprocess=Preprocess(16, 1), precision="32-true"
    )


def begun(name, model):
    config = Config(
        images=Images(size=16),
        augment=Augment(crop=1, flip=True, noise=0.1),
        evaluate=Evaluate(ways=(3,), shots=(1,), query=3, episodes=2),
        **{name: SECTIONS[name]},
    )
    (training,) = planned(config, SPLITS).stages
    return training.begin(model)


def state_of(model):
    """Copies of a model's weights and buffers, and the mode and the momentum of each of its modules."""
    modes = [(module.training, getattr(module, "momentum", None)) for module in model.modules()]
    return copy.deepcopy(model.state_dict()), modes


@pytest.mark.parametrize("name", SECTIONS)
def test_it_leaves_the_model_as_it_was(name, model):
    stage = begun(name, model)
    stage.module(*next(stage.batches(0)))  # after which statistics are those of training
    model.eval()
    model.backbone.bn2.train()
    weights, modes = state_of(model)
    with stage.calibrated():
        scores = stage.validate()
    assert set(scores) > {"val_accuracy"}
    after, modes_after = state_of(model)
    assert modes_after == modes
    assert after.keys() == weights.keys()
    for key, value in weights.items():
        assert torch.equal(after[key], value), key


@pytest.mark.parametrize("name", ["pretrain", "meta"])
def test_the_weights_that_are_kept_have_the_statistics_of_base_images(name, model):
    stage = begun(name, model)
    fit(stage, Fabric(accelerator="cpu", devices=1), Silent())
    found = copy.deepcopy(model.backbone.state_dict())
    update_bn([model.preprocess(SPLITS.train.images)], model.backbone)  # all 48 images are one batch
    for key, value in model.backbone.state_dict().items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-6)


def test_scores_are_those_of_a_model_with_base_mean_and_statistics(model):
    val = first_of_each(SPLITS.val, 4000)
    judged = ImageValidation(evenly_spaced(SPLITS.train, 4000), val, validation_samplers(val, 0))
    predict = as_predict(prototypes)
    with judged.calibrated(model):
        found = judged.scores(model, [predict])
    update_bn([model.preprocess(SPLITS.train.images)], model.backbone)
    model.base_mean = model.features(SPLITS.train).mean()
    expected = [
        evaluate(predict, replace_data(sampler, model.features(SPLITS.val)), method="").accuracy
        for sampler in validation_samplers(val, 0)
    ]
    assert found["val_1-shot"] == pytest.approx(expected[0])
    assert found["val_5-shot"] == pytest.approx(expected[1])
    assert found["val_accuracy"] == pytest.approx(sum(expected) / 2)


def replace_data(sampler, data):
    sampler.data = data
    return sampler


def test_after_an_error_the_model_is_as_it_was(model):
    before = copy.deepcopy(model.state_dict())

    def fail():
        assert not torch.equal(model.backbone.bn1.running_mean, before["backbone.bn1.running_mean"])
        raise InputError("validation: expected logits that are numbers, got nan")

    with pytest.raises(InputError, match="nan"), calibrated(model, SPLITS.train):
        fail()
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_statistics_are_those_of_all_images():
    model = GraphFewShot(backbones.conv4(1, 4), ClassGraph())
    images = torch.randint(256, (257, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images[:, :, :4] //= torch.arange(1, 258)[:, None, None, None].to(torch.uint8).clamp(min=1)
    with calibrated(model, LabelledSet(images, torch.zeros(257, dtype=torch.int64), ("a",))):
        found = model.backbone.bn1.running_mean.clone()
    update_bn([model.preprocess(images)], model.backbone)
    torch.testing.assert_close(found, model.backbone.bn1.running_mean, rtol=0.01, atol=0.001)


def test_episodes_go_as_far_as_the_images():
    assert [(s.way, s.shot, s.query) for s in validation_samplers(SPLITS.val, 0)] == [(5, 1, 7), (5, 5, 3)]
    few = replace(
        SPLITS.val, items=SPLITS.val.items[:6], labels=torch.arange(6) // 2, class_names=("a", "b", "c")
    )
    few = replace(few, class_ids=())
    assert [(s.way, s.shot, s.query) for s in validation_samplers(few, 0)] == [(3, 1, 1)]
    assert validation_samplers(few, 0, noise=0.4) == []  # of one support none can be wrong
    single = replace(few, labels=torch.tensor([0, 0, 0, 0, 1, 2]))
    with pytest.raises(
        InputError, match="at least 2 classes of at least 2 images, got 3 classes, the smallest of 1"
    ):
        validation_samplers(single, 0)
