"""Weights of a network of another library, from a file."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import mobilenet_v3_small

from fewshot.core.errors import InputError
from fewshot.model.backbones.external import outside
from fewshot.model.backbones.weights import load_weights

NAME = "torchvision:mobilenet_v3_small"


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return mobilenet_v3_small().state_dict()


@pytest.mark.parametrize("form", ["plain.pth", "wrapped.pt", "parallel.bin", "file.safetensors"])
def test_a_published_file_with_its_classifier_fits(state, tmp_path: Path, form: str) -> None:
    file = tmp_path / form
    if form == "file.safetensors":
        save_file({key: value.contiguous() for key, value in state.items()}, file)
    else:
        content = {f"module.{key}": value for key, value in state.items()} if "parallel" in form else state
        torch.save({"state_dict": content, "epoch": 3} if "wrapped" in form else content, file)
    backbone = outside(NAME, pretrained=True, frozen=True, weights=str(file))  # nothing is downloaded
    assert all(torch.equal(value, state[key]) for key, value in backbone.network.state_dict().items())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


def test_what_does_not_fit_is_said(state, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = next(iter(state))
    torch.save({k: v for k, v in state.items() if k != key}, tmp_path / "less.pt")
    torch.save({**state, key: torch.zeros(1)}, tmp_path / "other.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "text.pt").write_text("weights")
    for file, message in (
        ("less.pt", f"backbone.weights: .*less.pt does not fit the backbone; missing: {key}"),
        ("other.pt", f"of another shape: {key}"),
        ("list.pt", "backbone.weights: expected a state dict in .*list.pt, got list"),
        ("text.pt", "backbone.weights: .*text.pt: expected a file that torch.save wrote"),
        ("none.pt", "backbone.weights: expected a file, got .*none.pt, which does not exist"),
    ):
        with pytest.raises(InputError, match=message):
            outside(NAME, weights=str(tmp_path / file))
    torch.save({"weight": torch.zeros(2, 2), "extra": torch.zeros(1)}, tmp_path / "more.pt")
    with pytest.raises(InputError, match="unknown: extra"):
        load_weights(torch.nn.Linear(2, 2, bias=False), tmp_path / "more.pt")
    with pytest.raises(InputError, match="its published weights are IMAGENET1K_V1"):
        outside(NAME, weights="IMAGENET9")


def test_a_failed_download_says_where_a_file_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torchvision.models._api.WeightsEnum.get_state_dict", offline)
    with pytest.raises(InputError, match=r"looked for in .*checkpoints/mobilenet_v3_small-\w+\.pth, and"):
        outside(NAME, pretrained=True)
