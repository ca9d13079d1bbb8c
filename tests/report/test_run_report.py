"""The report: it holds its data and is self-contained; its pictures are also files."""

import re
from dataclasses import replace

import pytest
import torch
from PIL import Image

from fewshot import backbones
from fewshot.data.labelled import LabelledSet
from fewshot.data.packed import PackedDataset, Splits, digest
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.scores import as_predict, evaluate
from fewshot.graph.class_graph import ClassGraph
from fewshot.methods.prototypes import prototypes
from fewshot.model.few_shot import GraphFewShot
from fewshot.report.example import draw_example
from fewshot.report.run_report import data_table, results_table, write_report

METRICS = [
    {"stage": "meta", "step": 0, "val_accuracy": 20.0},
    {"stage": "meta", "step": 1, "loss": 1.5, "accuracy": 30.0, "lr": 0.1},
    {"stage": "graph", "step": 1, "loss": 1.0, "accuracy": 60.0, "lr": 0.1},
]


def packed(seed):
    images = torch.randint(
        256, (60, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )
    labels, names = torch.arange(60) // 10, ("ant", "<bee>", "cat", "dog $x$", "eel", "fox")
    return PackedDataset(images, labels, names, hash=digest(images, labels, names))


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    return Splits(packed(1), packed(2), packed(0), "made up", 64 * "a", tmp_path_factory.mktemp("pack"))


@pytest.fixture(scope="module")
def scores(splits):
    data = splits.test
    features = LabelledSet(data.items.flatten(1).float(), data.labels, data.class_names)
    sampler = EpisodeSampler(features, way=3, query=2, episodes=20)
    return [evaluate(as_predict(prototypes), sampler, method="prototypes")]


def test_report_holds_everything_and_is_self_contained(tmp_path, splits, scores):
    torch.manual_seed(0)
    model = GraphFewShot(backbones.conv4(in_channels=1, width=4), ClassGraph()).eval()
    example = draw_example(model, splits.test, query=4)
    config = {"name": "run <1>", "data": "folder:letters", "seed": 3, "meta": {"steps": 7}}
    files = write_report(
        tmp_path, config=config, metrics=METRICS, scores=scores, splits=splits, example=example
    )
    text = (tmp_path / "report.html").read_text()
    for needed in (
        "run &lt;1&gt;",
        f"{scores[0].accuracy:.2f}",
        f"{scores[0].nll:.3f}",
        f"(area {scores[0].aurc:.3f})",
        scores[0].fingerprint,
        splits.hash,
        splits.test.hash[:16],
        "folder:letters",
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
    assert set(files) == {
        "curves",
        "class-graph",
        "why",
        "features",
        "reliability",
        "risk-coverage",
        "confusions",
    }
    assert text.count("<svg") == len(files)
    for file in files.values():
        assert Image.open(file).width > 500
    everything = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert everything == {*files.values(), tmp_path / "report.html"}


def test_report_of_a_run_without_training(tmp_path, splits, scores):
    files = write_report(tmp_path, config={}, metrics=[], scores=scores, splits=splits)
    assert "Learning curves" not in (tmp_path / "report.html").read_text()
    assert set(files) == {"reliability", "risk-coverage", "confusions"}


def test_two_copies_that_differ_are_seen_to_differ(splits):
    images = splits.test.items.clone()
    images[7, 0, 3, 3] += 1  # one pixel
    other = digest(images, splits.test.labels, splits.test.class_names)
    copy = replace(splits, test=replace(splits.test, items=images, hash=other), hash=64 * "b")
    ours, theirs = data_table("mini", splits), data_table("mini", copy)
    rows, others = (re.findall("<tr>.*?</tr>", table) for table in (ours, theirs))
    assert [a == b for a, b in zip(rows, others, strict=True)] == [True, True, True, False]
    assert splits.hash in ours
    assert copy.hash in theirs


def test_rows_with_relations_come_last_in_a_column_of_their_own(tmp_path, splits, scores):
    assert "Relations" not in results_table(scores)
    related = replace(scores[0], method="class-graph", relations="taxonomy")
    table = results_table([related, *scores])
    assert "<th>Relations</th>" in table
    assert table.index("prototypes") < table.index("class-graph")
    write_report(tmp_path, config={}, metrics=[], scores=[*scores, related], splits=splits)
    assert "prototypes, inductive, 3-way" in (tmp_path / "report.html").read_text()  # the mistakes' row
