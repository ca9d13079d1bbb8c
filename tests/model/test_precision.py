import pytest
import torch
from torch import nn

from fewshot.core.fastest import fastest
from fewshot.model import precision
from fewshot.model.precision import autocast, layout, resolve


@pytest.fixture
def measured(monkeypatch):
    """Answers by these times, as if they were this machine's."""

    def feign(has=True, **seconds):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        times = {"channels last": 1.0, "channels first": 1.0, **seconds}

        def answer(question, ways, margin, device):
            usual, other = ways
            return other if times[other] * margin < times[usual] else usual

        monkeypatch.setattr(precision, "fastest", answer)
        for remembered in (precision._measured, precision._layout):
            remembered.cache_clear()

    yield feign
    for remembered in (precision._measured, precision._layout):
        remembered.cache_clear()


@pytest.mark.parametrize("name", ["32-true", "bf16-mixed"])
def test_a_precision_that_was_asked_for_is_taken(name):
    assert resolve(name) == name


def test_auto_looks_at_the_clock(measured):
    measured(**{"32-true": 1.0, "bf16-mixed": 0.3})
    assert resolve("auto") == "bf16-mixed"
    measured(**{"32-true": 1.0, "bf16-mixed": 1.9})  # as on a Xeon without AMX
    assert resolve("auto") == "32-true"
    measured(**{"32-true": 1.0, "bf16-mixed": 0.9})  # not worth the rounding
    assert resolve("auto") == "32-true"


def test_auto_needs_the_hardware(measured):
    measured(has=False, **{"32-true": 1.0, "bf16-mixed": 0.1})
    assert resolve("auto") == "32-true"


def test_a_gpu_is_measured_too(measured, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    measured(**{"32-true": 1.0, "bf16-mixed": 0.5}, **{"channels first": 0.5})
    assert (resolve("auto", "cuda"), layout("cuda")) == ("bf16-mixed", torch.contiguous_format)
    measured(**{"32-true": 1.0, "bf16-mixed": 0.9})
    assert (resolve("auto", "cuda"), layout("cuda")) == ("32-true", torch.channels_last)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    measured(**{"32-true": 1.0, "bf16-mixed": 0.1})  # emulated
    assert resolve("auto", "cuda") == "32-true"


def test_layout_is_channels_last_unless_the_other_is_faster(measured):
    times = {"32-true": 1.0, "bf16-mixed": 1.0}
    measured(**times)
    assert layout() == torch.channels_last
    measured(**times, **{"channels first": 0.5})
    assert layout() == torch.contiguous_format
    assert layout("meta") == torch.channels_last  # nothing can be timed there


def test_the_true_measurement_gives_one_of_the_answers(measured, monkeypatch, tmp_path):
    measured()
    monkeypatch.setenv("FEWSHOT_CACHE", str(tmp_path))
    monkeypatch.setattr(precision, "fastest", fastest)
    assert resolve("auto") in ("32-true", "bf16-mixed")
    assert layout() in (torch.channels_last, torch.contiguous_format)
    assert (tmp_path / "fastest.json").is_file()


def test_autocast():
    layer, x = nn.Linear(2, 2), torch.rand(1, 2)
    with autocast("cpu", "bf16-mixed"):
        assert layer(x).dtype == torch.bfloat16
    with autocast("cpu", "32-true"):
        assert layer(x).dtype == torch.float32
