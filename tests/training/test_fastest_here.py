"""What a run chooses by speed: what is faster here, and what it began with if it is resumed."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from fewshot import backbones
from fewshot.core.errors import InputError
from fewshot.model.backbones import compiled
from fewshot.training import config as configs
from fewshot.training import processes
from fewshot.training.config import Config, Meta, from_dict
from fewshot.training.fastest_here import compiles, precision_of


@pytest.fixture(scope="module")
def fabric():
    return processes.make_fabric(1)


@pytest.fixture
def faster(monkeypatch):
    """Answers which way of training is the fastest."""

    def feign(answer):
        monkeypatch.setattr(compiled, "fastest", lambda question, ways, **_: answer)
        compiled._measured.cache_clear()

    yield feign
    compiled._measured.cache_clear()


def test_a_run_keeps_the_precision_that_it_began_with(fabric, tmp_path):
    auto = Config(precision="auto")
    assert precision_of(auto, tmp_path, False, fabric) == "32-true"  # see conftest.py
    configs.write(Config(precision="bf16-mixed"), tmp_path / "config.yaml")
    assert precision_of(auto, tmp_path, True, fabric) == "bf16-mixed"
    assert precision_of(auto, tmp_path, False, fabric) == "32-true"


@pytest.mark.parametrize("answer", ["eager", "compiled"])
def test_auto_compiles_if_that_is_faster(fabric, tmp_path, faster, answer):
    faster(answer)
    backbone, auto = backbones.conv4(1, 4), Config(compile="auto", meta=Meta())
    assert compiles(auto, backbone, tmp_path, False, fabric) == (answer == "compiled")
    for asked in (False, True):
        assert compiles(replace(auto, compile=asked), backbone, tmp_path, False, fabric) == asked


def test_a_run_goes_on_compiled_or_not_as_it_began(fabric, tmp_path, faster):
    faster("compiled")
    backbone, auto = backbones.conv4(1, 4), Config(compile="auto", meta=Meta())
    configs.write(Config(compile=False), tmp_path / "config.yaml")
    assert not compiles(auto, backbone, tmp_path, True, fabric)
    assert compiles(auto, backbone, tmp_path, False, fabric)


def test_auto_does_not_compile_what_cannot_be_compiled(fabric, tmp_path, faster, monkeypatch):
    faster("compiled")
    auto = Config(compile="auto", meta=Meta())
    assert not compiles(auto, nn.Flatten(), tmp_path, False, fabric)

    def refuse(*_, **__):
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch, "compile", refuse)
    assert not compiles(auto, backbones.conv4(1, 4), tmp_path, False, fabric)
    with pytest.raises(InputError, match="does not work on this machine: no C\\+\\+ compiler"):
        compiled.compile_backbone(backbones.conv4(1, 4), torch.device("cpu"))


def test_auto_does_not_compile_what_is_not_trained(fabric, tmp_path, faster):
    faster("compiled")
    assert not compiles(Config(compile="auto"), backbones.conv4(1, 4), tmp_path, False, fabric)


def test_auto_compiles_on_a_cpu_alone(faster):
    faster("compiled")
    assert not compiled.compiling_pays(backbones.conv4(1, 4), torch.device("cuda"))


def test_both_ways_that_are_timed_do_the_same():
    with torch.compiler.set_stance("force_eager"):
        for function in (compiled.norm_act, compiled.fused_norm_act):
            compiled._training_step(function, torch.float32)()


@pytest.mark.parametrize("value", [True, False, "auto"])
def test_the_config_takes_it(value):
    assert from_dict({"compile": value}).compile == value
    for wrong, shown in (("yes", "'yes'"), (None, "None")):
        with pytest.raises(InputError, match=f"compile: expected one of true, false, auto, got {shown}"):
            from_dict({"compile": wrong})
