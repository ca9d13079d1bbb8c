import pytest
import torch
from torch import nn

from fewshot.model.precision import autocast, resolve


@pytest.mark.parametrize("name", ["32-true", "bf16-mixed"])
def test_a_precision_that_was_asked_for_is_taken(name):
    assert resolve(name) == name


def test_auto_needs_the_hardware(monkeypatch):
    for has in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda has=has: has)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        assert resolve("auto") == ("bf16-mixed" if has else "32-true")


def test_autocast():
    layer, x = nn.Linear(2, 2), torch.rand(1, 2)
    with autocast("cpu", "bf16-mixed"):
        assert layer(x).dtype == torch.bfloat16
    with autocast("cpu", "32-true"):
        assert layer(x).dtype == torch.float32
