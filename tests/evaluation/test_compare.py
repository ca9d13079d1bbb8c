"""The comparison: the very same episodes for all, and what it reports on each method."""

import json
from dataclasses import replace

import pytest
import torch
from made_up_methods import BASE, IMAGES, JOINT, of_all_queries

from fewshot.core.errors import InputError
from fewshot.evaluation import compare as comparison
from fewshot.evaluation.audit import failures
from fewshot.evaluation.choice import choose
from fewshot.evaluation.compare import compare
from fewshot.evaluation.inputs import ScoredData
from fewshot.evaluation.scores import as_predict, evaluate
from fewshot.methods.catalogue import Method, find


def test_all_score_the_very_same_episodes(source):
    options = {"way": 4, "shot": 2, "query": 5, "episodes": 30, "seed": 3}
    sampler = source.sampler("test", **options)
    rows = compare([*find("class-graph"), BASE], source.material(sampler, "test", base=True), sampler)
    assert [(row.method.name, row.scores.mode) for row in rows] == [
        ("prototypes", "inductive"), ("class-graph", "inductive"), ("class-graph", "joint"),
        ("class-graph", "joint-known"), ("base", "inductive"),
    ]  # fmt: skip
    assert {row.scores.fingerprint for row in rows} == {sampler.fingerprint()}
    alone = evaluate(as_predict(source.graph, joint=True), sampler, method="class-graph", mode="joint")
    assert torch.equal(rows[2].scores.per_episode, alone.per_episode)
    assert rows[0].difference is None
    for row in rows[1:]:
        each = (row.scores.per_episode - rows[0].scores.per_episode).numpy()
        expected = each.mean(), 1.96 * each.std(ddof=1) / len(each) ** 0.5
        assert row.difference == pytest.approx(expected)
    assert all(failures(row.checks) == [] for row in rows)


def test_modes_are_those_that_a_method_has_and_that_are_asked_for(source):
    sampler = source.sampler("test", query=5, episodes=4)
    material = source.material(sampler, "test", base=False)
    rows = compare([*find("prototypes,class-graph"), JOINT], material, sampler, modes=["joint-known"])
    assert [(row.method.name, row.scores.mode) for row in rows] == [
        ("prototypes", "inductive"), ("class-graph", "joint-known"), ("queries", "joint-known"),
    ]  # fmt: skip


def test_images_are_of_the_same_episodes_as_their_features(photos):
    for more in ({"classes": "hard"}, {"queries": "dirichlet:1", "label_noise": 0.5}, {}):
        options = {"way": 4, "shot": 2, "query": 3, "episodes": 20, "seed": 1, **more}
        sampler = photos.sampler("test", **options)
        image_sampler = photos.image_sampler("test", sampler, **options)
        assert image_sampler.fingerprint() == sampler.fingerprint()
    material = photos.material(sampler, "test", base=False)
    rows = compare([IMAGES], material, sampler, image_sampler)
    assert [row.method.name for row in rows] == ["prototypes", "pixels"]
    assert rows[0].scores.fingerprint == rows[1].scores.fingerprint
    assert rows[1].scores.accuracy > 90  # the images of a class have much in common
    other = photos.image_sampler("test", sampler, **{**options, "seed": 2})
    with pytest.raises(InputError, match="same episodes"):
        compare([IMAGES], material, sampler, other)
    with pytest.raises(InputError, match="pixels works on images"):
        compare([IMAGES], material, sampler)


def test_time_is_of_prediction_alone_without_the_first_batch(source, monkeypatch):
    seconds = iter(range(10_000))
    monkeypatch.setattr(comparison.time, "perf_counter", lambda: next(seconds))
    sampler = source.sampler("test", query=2, episodes=160)  # 3 batches, a second each
    [row] = compare([], source.material(sampler, "test", base=False), sampler)
    assert row.milliseconds == pytest.approx(1000 * 3 / 160)
    assert next(seconds) == 6  # the clock was not looked at for anything else


def test_what_a_method_must_not_see_is_in_its_row(source):
    cheat = Method("cheat", "cheat", "nobody", lambda material: of_all_queries)
    sampler = source.sampler("test", query=5, episodes=1)  # the audit takes more, to have a batch
    rows = [r.row() for r in compare([cheat], source.material(sampler, "test", base=False), sampler)]
    assert [row["audit"] for row in rows] == [[], ["other queries"]]
    assert rows[1]["ci95"] is rows[1]["difference_ci95"] is rows[0]["difference"] is None
    json.dumps(rows, allow_nan=False)


def test_progress_is_reported(source):
    lines = []
    sampler = source.sampler("test", query=5, episodes=4)
    compare([BASE], source.material(sampler, "test", base=True), sampler, progress=lines.append)
    assert lines == [
        "prototypes, inductive: scoring 4 episodes", "base: learning", "base, inductive: scoring 4 episodes",
    ]  # fmt: skip


PLACES = [f"root/{c % 5}/{c}" for c in range(38)]  # of made-up classes, in five groups


@pytest.fixture(scope="module")
def placed(source):
    """Made-up features with paths, and names that differ between splits."""
    splits = {}
    for place, (name, data) in enumerate(source.splits.items()):
        names = tuple(f"{name} {c}" for c in range(data.num_classes))
        splits[name] = replace(data, class_names=names, paths=tuple(PLACES[place : place + len(names)]))
    return ScoredData(source.graph, splits)


def test_with_relations_the_very_same_episodes_are_scored_once_more(placed):
    sampler = placed.sampler("test", way=4, shot=2, query=5, episodes=30)
    relations = placed.relations("taxonomy", "test")
    material = placed.material(sampler, "test", base=True, relations=relations)
    names = "prototypes,class-graph,known-calibration,mixture"
    chosen, left_out = choose(names, relations=True, untransformed=placed.untransformed())
    assert len(left_out) == 1
    assert "the base classes' features are not skewed" in left_out[0]
    rows = compare(chosen, material, sampler, modes=["inductive"], relations=relations, belief=1.0)
    assert [(row.method.name, row.scores.relations) for row in rows] == [
        ("prototypes", "none"), ("class-graph", "none"), ("class-graph", "taxonomy"),
        ("known-calibration", "taxonomy"), ("mixture", "taxonomy"),
    ]  # fmt: skip
    assert {row.scores.fingerprint for row in rows} == {sampler.fingerprint()}
    plain, related = rows[1].scores, rows[2].scores
    each = (related.per_episode - plain.per_episode).numpy()
    expected = each.mean(), 1.96 * each.std(ddof=1) / len(each) ** 0.5
    assert rows[2].gain == pytest.approx(expected)
    assert [row.gain is None for row in rows] == [True, True, False, True, True]
    assert all(failures(row.checks) == [] for row in rows)
    assert ["relations" in [check.name for check in row.checks] for row in rows] == [False] * 2 + [True] * 3
    contents = [row.row() for row in rows]
    assert [content["relations"] for content in contents] == ["none"] * 2 + ["taxonomy"] * 3
    assert "gain" not in contents[1]
    assert contents[2]["gain"] == round(expected[0], 3)
    predict = as_predict(placed.graph, relations=relations, belief=1.0)
    alone = evaluate(predict, sampler, method="class-graph")
    assert torch.equal(related.per_episode, alone.per_episode)
    assert not torch.equal(related.per_episode, plain.per_episode)
