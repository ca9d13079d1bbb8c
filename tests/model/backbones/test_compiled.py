"""The fused passes are batch norm, pooling and activation, forward and backward."""

import copy

import pytest
import torch
from torch import nn

from fewshot import backbones
from fewshot.core.errors import InputError
from fewshot.model.backbones import compiled
from fewshot.model.backbones.compiled import compile_backbone, fused_norm_act
from fewshot.model.backbones.layers import norm_act


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(compiled, "LEAST", 0)


@pytest.fixture
def eager():
    """Without compiling, to test the mathematics alone."""
    with torch.compiler.set_stance("force_eager"):
        yield


def both(function, x, norm, slope, pool, weight):
    """Output, gradients, and running statistics."""
    norm, x = copy.deepcopy(norm), x.detach().clone().requires_grad_()
    out = function(x, norm, slope, pool)
    (out.float() * weight).sum().backward()
    return [out, x.grad, norm.weight.grad, norm.bias.grad, *norm.buffers()]


def case(shape, pool, seed=0):
    torch.manual_seed(seed)
    x = (3 + 2 * torch.randn(shape)).contiguous(memory_format=torch.channels_last)
    norm = nn.BatchNorm2d(shape[1])
    nn.init.normal_(norm.weight)  # of either sign
    nn.init.normal_(norm.bias)
    norm.running_mean.normal_()
    n, c, h, w = shape
    return x, norm, torch.randn(n, c, h // 2, w // 2) / 10 if pool else torch.randn(shape) / 10


@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize("slope", [0.0, 0.1])
def test_equals_the_plain_passes(eager, pool, slope):
    x, norm, weight = case((6, 5, 8, 10), pool)
    pairs = zip(*(both(f, x, norm, slope, pool, weight) for f in (fused_norm_act, norm_act)), strict=True)
    for mine, theirs in pairs:
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


def test_a_small_variance_far_from_zero_is_not_lost(eager):
    x, norm, _ = case((6, 5, 8, 8), pool=False)
    x, norm.running_mean = 1000 + x / 100, torch.full((5,), 1000.0)
    exact = norm_act(x.double(), copy.deepcopy(norm).double(), 0.1, False)
    torch.testing.assert_close(fused_norm_act(x, norm, 0.1, False).double(), exact, rtol=0, atol=1e-2)


def test_of_equals_the_first_gets_the_gradient(eager):
    x, norm = torch.zeros(2, 1, 2, 2), nn.BatchNorm2d(1)
    x[1] = 1.0
    grads = [both(f, x, norm, 0.1, True, torch.ones(2, 1, 1, 1))[1] for f in (fused_norm_act, norm_act)]
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("why", ["odd sides", "evaluation", "no gradient", "small"])
def test_is_plain_where_it_cannot_be_or_does_not_pay(monkeypatch, why):
    monkeypatch.setattr(compiled, "_NormAct", None)
    x, norm, _ = case((2, 3, 5 if why == "odd sides" else 4, 4), pool=True)
    norm.train(why != "evaluation")
    if why == "small":
        monkeypatch.setattr(compiled, "LEAST", 1000)
    with torch.set_grad_enabled(why != "no gradient"):
        assert torch.equal(fused_norm_act(x, copy.deepcopy(norm), 0.1, True), norm_act(x, norm, 0.1, True))


def test_a_compiled_backbone_trains_as_before():
    plain = backbones.conv4(1, 8)
    own = copy.deepcopy(plain)
    try:
        compile_backbone(own, torch.device("cpu"))
    except InputError as error:
        pytest.skip(str(error))
    assert own.state_dict().keys() == plain.state_dict().keys()
    compiled.LEAST = 4 * 8 * 16 * 16 + 1  # the first layer alone, as compiling takes seconds
    x = torch.randn(4, 1, 32, 32)
    for backbone in (plain, own):
        backbone(x).square().sum().backward()
    for (name, mine), theirs in zip(own.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-4, msg=name)
    for mine, theirs in zip(own.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs)
    torch.testing.assert_close(own.eval()(x), plain.eval()(x))
    torch.testing.assert_close(backbones.for_inference(own)(x), plain(x), rtol=1e-4, atol=1e-4)


def test_a_backbone_that_cannot_be_compiled_is_reported(monkeypatch):
    with pytest.raises(InputError, match="compile: expected conv4 or resnet12 on a CPU, got Linear"):
        compile_backbone(nn.Linear(2, 2), torch.device("cpu"))

    def missing(*_):
        raise RuntimeError("no compiler\nand more")

    monkeypatch.setattr(torch, "compile", lambda _: missing)
    with pytest.raises(InputError, match=r"torch\.compile does not work on this machine: no compiler$"):
        compile_backbone(backbones.conv4(), torch.device("cpu"))
