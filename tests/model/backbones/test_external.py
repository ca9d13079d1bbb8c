"""Networks of timm and torchvision, and functions, as backbones."""

import sys
import urllib.error

import numpy as np
import pytest
import torch
from PIL import Image

from fewshot import backbones
from fewshot.core.errors import InputError
from fewshot.data.loading import load
from fewshot.graph.class_graph import ClassGraph
from fewshot.model.backbones.external import outside, own_input
from fewshot.model.few_shot import GraphFewShot
from fewshot.training import run as training
from fewshot.training import validation
from fewshot.training.build import build
from fewshot.training.config import Backbone, Config, Evaluate, Graph, Images, Pretrain, from_dict
from fewshot.training.plan import planned

TIMM = "timm:test_resnet"  # tiny; its images are of 160×160
IMAGES = torch.randint(256, (2, 3, 40, 50), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("name", "size", "features"),
    [
        ("torchvision:resnet18", 224, 512),
        ("torchvision:mobilenet_v3_small", 224, 1024),
        ("torchvision:squeezenet1_0", 224, 512),
        ("torchvision:shufflenet_v2_x0_5", 224, 1024),
        ("torchvision:regnet_x_400mf", 224, 400),
        ("torchvision:googlenet", 224, 1024),
        ("timm:test_vit", 160, 64),
        ("timm:test_convnext.r160_in1k", 160, 64),
        ("timm:test_efficientnet", 160, 256),
    ],
)
def test_the_classifier_is_gone_and_the_input_is_the_networks_own(name, size, features):
    backbone = backbones.build({"name": name}).train()
    assert backbone.input["size"] == size
    assert len(backbone.input["mean"]) == len(backbone.input["std"]) == 3
    assert backbone(torch.rand(2, 3, 64 if "vit" not in name else size, size)).shape == (2, features)
    assert backbone.out_features(size) == features
    assert backbone.training


def test_features_are_what_the_classifier_would_have_been_given():
    from torchvision.models import resnet18

    backbone = outside("torchvision:resnet18").eval()
    whole = resnet18().eval()
    whole.load_state_dict(backbone.network.state_dict(), strict=False)
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(whole.fc(backbone(x)), whole(x))


def test_a_model_gives_images_as_the_network_expects_them():
    model = GraphFewShot(outside(TIMM), ClassGraph())
    own = own_input(TIMM)
    x = model.preprocess(torch.full((1, 1, 30, 40), 255, dtype=torch.uint8))
    assert x.shape == (1, 3, 160, 160)
    white = (1 - torch.tensor(own["mean"])) / torch.tensor(own["std"])
    torch.testing.assert_close(x[0, :, 80, 80], white)


def test_a_frozen_network_is_not_trained():
    backbone = outside(TIMM, frozen=True)
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    assert not backbone.train().network.training
    assert not backbone(torch.rand(4, 3, 32, 32)).requires_grad
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())
    assert not any(p.requires_grad for p in backbone.parameters())


def test_a_checkpoint_brings_the_network_back_without_a_download(tmp_path, monkeypatch):
    import timm

    create = timm.create_model
    asked = []
    monkeypatch.setattr(
        timm, "create_model", lambda *a, pretrained, **k: asked.append(pretrained) or create(*a, **k)
    )
    model = GraphFewShot(
        outside(TIMM, pretrained=True, frozen=True), ClassGraph(), precision="32-true"
    ).eval()
    model.save(tmp_path / "c.pt")
    again = GraphFewShot.load(tmp_path / "c.pt")
    assert asked == [True, False]
    assert again.preprocess.config == model.preprocess.config
    assert again.backbone.config == {"name": TIMM, "frozen": True}
    with torch.no_grad():
        assert torch.equal(again.encode(IMAGES), model.encode(IMAGES))


def test_a_function_is_a_backbone(tmp_path):
    def means(x):
        return x.flatten(2).mean(2)

    model = GraphFewShot(means, ClassGraph(), precision="32-true").eval()
    expected = IMAGES.float().flatten(2).mean(2) / 127.5 - 1
    torch.testing.assert_close(model.encode(IMAGES), expected)
    model.save(tmp_path / "c.pt")
    assert torch.equal(
        GraphFewShot.load(tmp_path / "c.pt", backbone=means).encode(IMAGES), model.encode(IMAGES)
    )
    with pytest.raises(InputError, match=r"backbone: expected the module that .* was saved with, got None"):
        GraphFewShot.load(tmp_path / "c.pt")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    root = tmp_path_factory.mktemp("photographs")
    random = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for number in range(3):
            (folder := root / split / f"{split}{number}").mkdir(parents=True)
            for i in range(4):
                Image.fromarray(random.integers(255, size=(48, 48, 3), dtype=np.uint8)).save(
                    folder / f"{i}.png"
                )
    return f"folder:{root}"


SMALL = {
    "graph": Graph(steps=1, batch=1, ways=(2,), shots=(1,), query=1, noise=(0.0,)),
    "evaluate": Evaluate(ways=(2,), shots=(1,), query=1, episodes=2),
}


def test_training_uses_the_networks_own_input(photographs, tmp_path, monkeypatch):
    monkeypatch.setattr(validation, "VAL_EPISODES", 2)
    config = Config(data=photographs, backbone=Backbone(TIMM, frozen=True), **SMALL)
    folder = training.train(config, out=tmp_path / "run")
    model = GraphFewShot.load(folder / "checkpoint.pt")
    assert model.preprocess.config == own_input(TIMM)
    assert model.base_mean.shape == (96,)


def test_a_network_that_is_not_frozen_is_trained(photographs):
    config = Config(
        data=photographs,
        images=Images(size=32),
        backbone=Backbone(TIMM),
        pretrain=Pretrain(batch=4),
        evaluate=SMALL["evaluate"],
    )
    splits = load(config.data, size=32)
    model = build(config, splits)
    (pretraining,) = planned(config, splits).stages
    stage = pretraining.begin(model)
    before = [p.detach().clone() for p in model.backbone.parameters()]
    loss, _ = stage.module(*next(stage.batches(0)))
    loss.backward()
    stage.optimizer.step()
    assert not all(torch.equal(p, b) for p, b in zip(model.backbone.parameters(), before, strict=True))


def test_sizes_that_do_not_fit_are_named(photographs):
    splits = load(photographs, size=32)
    config = Config(data=photographs, images=Images(size=32), backbone=Backbone("timm:test_vit3"))
    with pytest.raises(
        InputError, match=r"images\.size: timm:test_vit3 does not take .*; its own size is 160"
    ):
        build(config, splits)
    with pytest.raises(InputError, match=r"images\.size: expected at least 16, got 8"):
        build(Config(), load(photographs, size=8))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "timm:resnet1"}, r"got 'timm:resnet1' \(did you mean timm:resnet18\?\)"),
        ({"name": "timm:hf-hub:someone/resnet18"}, "expected timm:NAME or torchvision:NAME"),
        ({"name": "timm:test_vit.nope"}, r"got 'timm:test_vit.nope' \(did you mean timm:test_vit"),
        ({"name": "torchvision:fcn_resnet50"}, r"did you mean torchvision:resnet50\?"),
        ({"name": "keras:resnet50"}, "expected timm:NAME or torchvision:NAME"),
        ({"name": "timm:test_vit", "width": 4}, r"backbone\.width: timm:test_vit expects pretrained, frozen"),
        ({"name": "conv4", "frozen": True}, r"backbone\.frozen: conv4 expects in_channels, width"),
    ],
)
def test_what_is_unknown_is_named(config, message):
    with pytest.raises(InputError, match=message):
        backbones.build(config)


def test_without_timm_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match=r"timm:resnet18 needs timm \(pip install timm\)"):
        outside("timm:resnet18")


def test_unavailable_weights_are_reported_in_one_line(monkeypatch):
    import torchvision.models

    def offline(*args, **options):
        raise urllib.error.URLError("Name or\nservice not known")

    monkeypatch.setattr(torchvision.models, "get_model", offline)
    with pytest.raises(InputError, match=r"no weights for .*service not known") as caught:
        outside("torchvision:resnet18", pretrained=True)
    assert "\n" not in str(caught.value)


def test_the_config_says_it_all():
    content = {"backbone": {"name": "timm:resnet18", "pretrained": True, "frozen": True}, "graph": {}}
    assert from_dict(content).backbone.arguments() == content["backbone"]
