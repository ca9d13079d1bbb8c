"""The report: it holds what it was given and needs nothing beside it."""

import re
import xml.etree.ElementTree as ElementTree

import pytest
import torch

from fewshot import backbones
from fewshot.data.packed import LabelledSet, PackedDataset
from fewshot.episodes import EpisodeSampler
from fewshot.evaluation import as_predict, evaluate
from fewshot.graph import ClassGraph
from fewshot.methods.prototypes import prototypes
from fewshot.model import GraphFewShot
from fewshot.report import curves, episode_picture, write_report


@pytest.fixture(scope="module")
def data():
    images = torch.randint(
        256, (60, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    return PackedDataset(images, torch.arange(60) // 10, ("ant", "<bee>", "cat", "dog", "eel", "fox"))


@pytest.fixture(scope="module")
def scores(data):
    features = LabelledSet(data.items.flatten(1).float(), data.labels, data.class_names)
    sampler = EpisodeSampler(features, way=3, query=2, episodes=20)
    return [evaluate(as_predict(prototypes), sampler, method="prototypes")]


METRICS = [
    {"stage": "meta", "step": 0, "val_accuracy": 20.0},
    {"stage": "meta", "step": 1, "loss": 1.5, "accuracy": 30.0, "lr": 0.1},
    {"stage": "graph", "step": 1, "loss": 1.0, "accuracy": 60.0, "lr": 0.1},
]


def test_report_holds_it_all_and_needs_nothing_beside_it(tmp_path, data, scores):
    torch.manual_seed(0)
    model = GraphFewShot(backbones.conv4(in_channels=1, width=4), ClassGraph()).eval()
    picture = episode_picture(model, data, way=5, shot=3)
    assert len(picture.names) == 5
    assert picture.dependencies.sum(1) == pytest.approx([1.0] * 5)
    config = {"name": "run <1>", "data": "glyphs", "seed": 3, "meta": {"steps": 7}}
    path = tmp_path / "report.html"
    write_report(path, config=config, metrics=METRICS, scores=scores, data=data, picture=picture)
    text = path.read_text()
    for needed in (
        "run &lt;1&gt;",
        f"{scores[0].accuracy:.2f}",
        scores[0].fingerprint,
        "steps: 7",
        "&lt;bee&gt;",
    ):
        assert needed in text
    assert "<bee>" not in text
    # All links are data URIs, anchors inside the page, or names of XML vocabularies.
    links = re.findall(r'(?:src|href)="(.{5})', text)
    assert {link for link in links if not link.startswith("#")} == {"data:"}
    assert "url(http" not in text
    assert "<script" not in text
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_report_of_a_run_without_training(tmp_path, data, scores):
    write_report(tmp_path / "report.html", config={}, metrics=[], scores=scores, data=data)
    assert "Learning curves" not in (tmp_path / "report.html").read_text()


def test_curves_have_a_column_a_stage_and_are_the_same_each_time():
    svg = curves(METRICS)
    ElementTree.fromstring(svg)
    assert svg.count(">meta<") == svg.count(">graph<") == 1
    assert "currentColor" in svg
    assert curves(METRICS) == svg
