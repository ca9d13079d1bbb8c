"""Graphs of several weights, and the modes they are called in."""

import pytest
import torch
from clusters import MODES

from fewshot.graph.class_graph import ClassGraph


@pytest.fixture(scope="module", params=["initial", "pretrained", "random"])
def graph(request: pytest.FixtureRequest) -> ClassGraph:
    """What holds must hold for any weights."""
    if request.param == "pretrained":
        return ClassGraph.pretrained().requires_grad_(False)
    graph = ClassGraph()
    if request.param == "random":
        generator = torch.Generator().manual_seed(1)
        for parameter in graph.parameters():
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return graph.requires_grad_(False).eval()


@pytest.fixture(params=MODES)
def options(request: pytest.FixtureRequest) -> dict:
    return MODES[request.param]


@pytest.fixture(params=[1, 2**20])
def piece(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work on many classes, a row at a time and all at once."""
    for module in ("conv", "edges", "trust"):
        monkeypatch.setattr(f"fewshot.graph.{module}.PIECE", request.param)
