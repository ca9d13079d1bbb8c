"""How a run starts, and what is refused before anything is written."""

import sys
from dataclasses import replace

import pytest
import torch

from fewshot import backbones
from fewshot.core.errors import InputError
from fewshot.data.loading import load
from fewshot.graph.class_graph import ClassGraph
from fewshot.training import processes
from fewshot.training import run as training
from fewshot.training.build import build, load_weights
from fewshot.training.config import Backbone, Evaluate, Graph, Meta, Pretrain
from fewshot.training.run import train


def test_training_computes_with_cudnn_whose_algorithms_do_not_vary(config, tmp_path, monkeypatch):
    found = []

    def look(*arguments):
        found.append((torch.backends.cudnn.enabled, torch.backends.cudnn.deterministic))
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train_stages", look)
    with pytest.raises(KeyboardInterrupt):
        train(config, out=tmp_path / "run")
    assert found == [(True, True)]


def test_a_compiled_run_compiles_its_backbone_before_anything_is_written(config, tmp_path, monkeypatch):
    def refuse(backbone, device):
        raise InputError(f"compile: {type(backbone).__name__} on {device}")

    monkeypatch.setattr(training, "compile_backbone", refuse)
    with pytest.raises(InputError, match="compile: Conv4 on cpu"):
        train(replace(config, compile=True), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_starts_from_random_weights_graph_included(config):
    model = build(config, load(config.data, size=16, channels=1))
    for key, value in ClassGraph().state_dict().items():
        assert torch.equal(model.graph.state_dict()[key], value)
    mean, std = (model.preprocess.config[key] for key in ("mean", "std"))
    images = load(config.data, size=16, channels=1).train.items.float() / 255
    assert mean == [pytest.approx(images.mean().item(), abs=1e-3)]
    assert std == [pytest.approx(images.std().item(), abs=1e-3)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"evaluate": Evaluate(ways=(20,))}, r"evaluate \(test split\): way: .*5.*20"),
        ({"evaluate": Evaluate(ways=(5,), shots=(5,), query=15)}, r"evaluate \(test split\): .*10"),
        ({"meta": Meta(way=7, query=2)}, r"meta \(train split\): way: .*6.*7"),
        ({"graph": Graph(ways=(3, 9), query=2)}, r"graph \(train split\): way: .*6.*9"),
        ({"pretrain": Pretrain(batch=128)}, r"pretrain\.batch: expected at most 60 \(images\), got 128"),
        ({"backbone": Backbone(name="resnet")}, r"backbone\.name: expected one of conv4, resnet12"),
        ({"weights": "/nowhere.pt"}, r"weights: expected a file, got /nowhere\.pt"),
    ],
)
def test_what_the_data_cannot_serve_is_an_error_before_anything_starts(config, tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        train(replace(config, **change), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("devices", ["many", 0, "-1"])
def test_devices_are_a_number_or_auto(config, devices):
    with pytest.raises(InputError, match="devices: expected auto or a number from 1 up, got"):
        train(config, devices=devices)


def test_several_devices_need_a_script_to_start_again(config, monkeypatch):
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    monkeypatch.setattr(sys, "argv", ["-c"])
    with pytest.raises(InputError, match="devices: expected 1, as there is no script"):
        train(config, devices=2)


def test_processes_that_run_are_not_left(config, monkeypatch):
    monkeypatch.setattr(processes, "_running", lambda: 2)
    with pytest.raises(InputError, match=r"devices: expected auto or 2 .*, got 1"):
        train(config, devices=1)


def test_a_strangers_weights_are_taken_whole_or_not_at_all(tmp_path):
    path = tmp_path / "weights.pt"
    theirs, ours = backbones.conv4(1, 4), backbones.conv4(1, 4)
    torch.save(theirs.state_dict(), path)
    load_weights(ours, path)
    assert torch.equal(ours.conv1.weight, theirs.conv1.weight)
    torch.save({k.replace("conv1", "stem"): v for k, v in theirs.state_dict().items()}, path)
    with pytest.raises(InputError, match=r"missing: conv1\.weight; unknown: stem\.weight"):
        load_weights(ours, path)
    torch.save(backbones.conv4(3, 4).state_dict(), path)
    with pytest.raises(InputError, match=r"of another shape: conv1\.weight"):
        load_weights(ours, path)
    path.write_bytes(b"no")
    with pytest.raises(InputError, match=r"weights\.pt: expected a file that torch\.save wrote"):
        load_weights(ours, path)
