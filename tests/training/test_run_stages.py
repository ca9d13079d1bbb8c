"""Runs that leave stages out, or train them otherwise."""

import math
from dataclasses import replace

import pytest
import torch
from run_files import results

from fewshot import backbones
from fewshot.data.loading import load
from fewshot.model.few_shot import GraphFewShot
from fewshot.training.final import final_evaluation
from fewshot.training.run import train


def test_without_a_trained_graph_there_are_prototypes_only(config, tmp_path):
    plain = replace(config, pretrain=None, graph=None, meta=replace(config.meta, steps=1))
    rows = results(train(plain, out=tmp_path / "plain", loggers=()))
    assert {row["method"] for row in rows} == {"prototypes"}


def test_the_whole_model_with_the_graph_on_episodes(config, tmp_path):
    graph = replace(
        config, pretrain=None, graph=None, meta=replace(config.meta, method="class-graph", steps=2)
    )
    rows = results(train(graph, out=tmp_path / "graph", loggers=()))
    assert {row["mode"] for row in rows} == {"inductive", "joint", "joint-known"}


@pytest.mark.parametrize("stages", ["pretrain", "pretrain and meta"])
def test_skewed_features_are_transformed_unless_the_backbone_is_meta_trained(
    config, tmp_path, monkeypatch, stages
):
    monkeypatch.setattr("fewshot.graph.transform.SKEWED", -math.inf)
    meta = None if stages == "pretrain" else replace(config.meta, steps=1)
    folder = train(replace(config, meta=meta), out=tmp_path / "run", loggers=())
    model = GraphFewShot.load(folder / "checkpoint.pt")
    assert model.transform.fitted == (meta is None)
    splits = load(config.data, size=16, channels=1)
    setting = {"split": "test", "query": 3, "seed": 0}
    assert [{**s.row(), **setting} for s in final_evaluation(config, splits.test).scores(model)] == results(
        folder
    )
    if meta is None:  # fitted on the base classes
        transformed = model.transform(model.features(splits.train).items)
        torch.testing.assert_close(transformed.mean(0), torch.zeros(4), atol=1e-4, rtol=0)


def test_without_stages_a_given_backbone_is_scored_by_the_yardstick(config, tmp_path):
    torch.save(
        backbones.build({**config.backbone.arguments(), "in_channels": 1}).state_dict(), tmp_path / "w.pt"
    )
    bare = replace(config, weights=str(tmp_path / "w.pt"), pretrain=None, meta=None, graph=None)
    folder = train(bare, out=tmp_path / "run")
    model = GraphFewShot.load(folder / "checkpoint.pt")
    base = model.features(load(config.data, size=16, channels=1).train)
    assert base.items.mean(0).abs().max() < 1e-5  # centred on the base mean
    assert {row["method"] for row in results(folder)} == {"prototypes"}
    assert sorted(p.name for p in folder.iterdir() if p.is_file() and p.name[0] != ".") == [
        "checkpoint.pt",
        "config.yaml",
        "metrics.jsonl",
        "report.html",
        "results.json",
    ]
