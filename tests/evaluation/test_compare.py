"""The comparison: the very same episodes for all, and what it reports on each method."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fewshot import backbones
from fewshot.core.errors import InputError
from fewshot.data.packed import Splits
from fewshot.data.synthetic import made_up_images
from fewshot.evaluation import compare as comparison
from fewshot.evaluation.audit import failures
from fewshot.evaluation.choice import choose, choose_modes
from fewshot.evaluation.compare import compare
from fewshot.evaluation.inputs import ScoredData, made_up_data, open_source
from fewshot.evaluation.scores import as_predict, evaluate
from fewshot.graph.class_graph import ClassGraph
from fewshot.graph.known_classes import KnownClasses
from fewshot.graph.transform import PowerTransform
from fewshot.methods import catalogue
from fewshot.methods.catalogue import Method, find
from fewshot.methods.prototypes import prototypes
from fewshot.methods.pt_map import pt_map
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.preprocess import Preprocess
from fewshot.report.comparison_chart import blocks_of, save_comparison


def pixels(support, query, **_):
    """Prototypes of pixels."""
    return prototypes(support.flatten(3).float(), query.flatten(2).float())


def nearest_base_class(material):
    """Adds to the features their largest cosine to a base class, for no good reason."""
    base = material.train.items[:50]

    def call(support, query, **_):
        return prototypes(support @ base.T, query @ base.T)

    return call


IMAGES = Method("pixels", "pixels", "nobody", lambda material: pixels, needs="images")
BASE = Method("base", "base", "nobody", nearest_base_class, needs="base")
JOINT = Method(
    "queries", "queries", "nobody", lambda material: of_all_queries, modes=("joint", "joint-known")
)


def of_all_queries(support, query, **_):
    centre = query.mean(1, keepdim=True)
    return prototypes(support - centre[:, None], query - centre)


@pytest.fixture(scope="module")
def source():
    return made_up_data()


@pytest.fixture(scope="module")
def photos():
    """Made-up images and a model for them."""
    torch.manual_seed(0)
    sets = [made_up_images(classes, 12, 16, 1, seed) for seed, classes in enumerate((8, 5, 9))]
    images = Splits(*sets, name="made up", hash="abc", path=Path("made-up"))
    backbone = backbones.conv4(in_channels=1, width=8)
    model = GraphFewShot(backbone, ClassGraph(), preprocess=Preprocess(16, 1), precision="32-true").eval()
    return ScoredData(model.graph, dict(images), model, images)


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


def test_choice_of_modes():
    assert choose_modes() == ("inductive", "joint", "joint-known")
    assert choose_modes("inductive", "known") == ("inductive",)
    assert choose_modes("joint") == ("joint", "joint-known")
    assert choose_modes("all", "known") == ("inductive", "joint-known")
    assert choose_modes("joint", "unknown") == ("joint",)


def test_choice_of_methods(monkeypatch):
    some = (*find("prototypes,class-graph"), BASE, IMAGES, JOINT)
    monkeypatch.setattr(catalogue, "METHODS", some)

    def names(*arguments, **options):
        return [method.name for method in choose(*arguments, **options)[0]]

    assert names(None) == ["prototypes", "class-graph", "base", "queries"]
    assert names(None, ["inductive"]) == ["prototypes", "class-graph", "base"]
    assert names("pixels,base,pixels") == ["pixels", "base"]
    [note] = choose(None)[1]
    assert note.startswith("left out: pixels (")
    assert "--methods" in note
    assert choose("pixels")[1] == []
    lacks = {"base": "no base", "images": "no images"}
    assert names(None, lacks=lacks) == ["prototypes", "class-graph", "queries"]
    assert choose(None, lacks=lacks)[1] == ["left out: base (no base)", "left out: pixels (no images)"]
    for wanted, modes, reason in (
        ("base", ["inductive"], "base cannot be compared here: no base"),
        ("prototypes,pixels", ["inductive"], "no images"),
        ("queries", ["inductive"], "its modes are joint, joint-known"),
        ("nothing", ["inductive"], "expected any of prototypes"),
    ):
        with pytest.raises(InputError, match=reason):
            choose(wanted, modes, lacks)


def test_nothing_is_learned_from_what_is_scored(source, photos):
    for split, train, val in (("test", True, True), ("val", True, False), ("train", False, True)):
        material = source.material(source.sampler(split, query=5), split, base=True)
        assert (material.train is not None, material.val is not None) == (train, val)
    assert source.material(source.sampler("test", query=5), "test", base=False).train is None
    assert set(source.lacks("test")) == {"images"}
    assert set(source.lacks("train")) == set(photos.lacks("train")) == {"base", "known", "images"}
    assert photos.lacks("val") == {}
    without = ScoredData(source.graph, {"test": source.splits["test"]})
    assert set(without.lacks("test")) == {"base", "known", "images"}


def test_features_come_minus_the_train_splits_mean(tmp_path):
    rng = np.random.default_rng(0)
    features, split = rng.normal(3, 1, (6, 7, 4)), np.array(["train"] * 3 + ["test"] * 3)
    names = np.array(list("abcdef"))
    np.savez(tmp_path / "f.npz", features=features, wnids=names, split=split)
    source = open_source(tmp_path / "f.npz")
    assert list(source.splits) == ["train", "test"]
    expected = (features[3:] - features[:3].mean((0, 1))).reshape(-1, 4)
    np.testing.assert_allclose(source.features("test").items, expected, atol=1e-5)
    assert source.remarks() == []
    with pytest.raises(InputError, match="split: expected one of train, test, got 'val'"):
        source.sampler("val")
    np.savez(tmp_path / "t.npz", features=features[3:], wnids=names[3:], split=split[3:])
    bare = open_source(tmp_path / "t.npz")
    np.testing.assert_allclose(bare.features("test").items, features[3:].reshape(-1, 4), atol=1e-5)
    assert "not subtracted" in bare.remarks()[0]
    np.save(tmp_path / "t.npy", features[3:])
    plain = open_source(tmp_path / "t.npy")
    np.testing.assert_array_equal(plain.features("test").items, bare.features("test").items)


def test_the_class_graph_gets_skewed_features_transformed_and_pt_map_its_positive_ones(tmp_path):
    rng = np.random.default_rng(0)
    features, split = rng.lognormal(0, 1.5, (6, 40, 8)), np.array(["train"] * 3 + ["test"] * 3)
    np.savez(tmp_path / "f.npz", features=features, wnids=np.array(list("abcdef")), split=split)
    source = open_source(tmp_path / "f.npz")
    sampler = source.sampler("test", way=3, shot=2, query=4, episodes=5)
    material = source.material(sampler, "test", base=False)
    transform = PowerTransform().fit(source.features("train").items)
    episode = next(iter(sampler))
    changed = transform(episode.support), transform(episode.query)
    calls = {method.name: method.make(material) for method in find("class-graph,transformed,pt-map")}
    logits = calls["class-graph"](episode.support, episode.query).logits
    torch.testing.assert_close(logits, ClassGraph.pretrained()(*changed).logits)
    torch.testing.assert_close(calls["transformed"](episode.support, episode.query), prototypes(*changed))
    positive = episode.support + source.base_mean, episode.query + source.base_mean
    assert min(x.min() for x in positive) > -1e-4
    torch.testing.assert_close(calls["pt-map"](episode.support, episode.query), pt_map(*positive))


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


def test_methods_that_need_relations_are_only_compared_with_them():
    every, reasons = choose(None)
    assert not [method for method in every if method.relations == "must"]
    assert reasons == [
        "left out: maml, anil (training on images takes minutes; --methods NAME,NAME,... includes them)"
    ]
    assert {m.name for m in choose(None, relations=True)[0]} - {m.name for m in every} == {
        "known-calibration", "kernel-regression", "mixture", "zero-shot",
    }  # fmt: skip
    with pytest.raises(InputError, match="mixture cannot be compared here: it needs relations"):
        choose("mixture")


def test_known_classes_of_features_are_the_train_splits_after_the_transform(tmp_path):
    rng = np.random.default_rng(0)
    features, split = rng.lognormal(0, 1.5, (6, 40, 8)), np.array(["train"] * 3 + ["test"] * 3)
    names, paths = np.array(list("abcdef")), np.array([f"root/{c % 2}/{c}" for c in range(6)])
    np.savez(tmp_path / "f.npz", features=features, wnids=names, split=split, paths=paths)
    source = open_source(tmp_path / "f.npz")
    known = source.known_classes()
    train = source.features("train")
    changed = torch.nn.functional.normalize(source.transform(train.items), dim=-1).view(3, 40, 8)
    expected = torch.nn.functional.normalize(changed.mean(1), dim=-1)
    torch.testing.assert_close(known.prototypes, expected)
    assert known.names == ("a", "b", "c")
    assert known.paths[2] == ("root", "0", "2")
    relations = source.relations("taxonomy", "test")
    assert relations.rows[1].tolist() == pytest.approx([2 * 2 / 6, 2 / 6, 2 * 2 / 6])
    np.savez(tmp_path / "t.npz", features=features[3:], wnids=names[3:], split=split[3:])
    with pytest.raises(
        InputError, match="relations: expected a train split, whose classes are the known ones"
    ):
        open_source(tmp_path / "t.npz").relations("taxonomy", "test")


def test_known_classes_of_a_checkpoint_are_its_own(photos):
    with pytest.raises(InputError, match="expected known classes in the checkpoint, which has none"):
        photos.relations("looks", "test")
    size = photos.features("test").items.shape[1]
    names = photos.splits["train"].class_names
    photos.model.known = KnownClasses(torch.randn(len(names), size), names)
    try:
        assert photos.known_classes() is photos.model.known
        assert "known" not in photos.lacks("test")
        photos.model.known = KnownClasses(torch.randn(3, size), ("x", "y", "z"))
        relations = photos.relations("looks", "test")
        assert relations.known.names == ("x", "y", "z")
        assert photos.lacks("test")["known"] == "the train split is not that of the known classes"
    finally:
        photos.model.known = None


def test_rows_with_relations_have_blocks_of_their_own():
    rows = [
        {"mode": "joint", "accuracy": 50.0, "relations": "taxonomy"}, {"mode": "inductive", "accuracy": 40.0},
        {"mode": "inductive", "accuracy": 45.0, "relations": "taxonomy"},
        {"mode": "inductive", "accuracy": 48.0, "relations": "taxonomy"},
    ]  # fmt: skip
    blocks = blocks_of(rows)
    assert [[row["accuracy"] for row in block] for block in blocks.values()] == [[40.0], [48.0, 45.0], [50.0]]
    assert list(blocks)[1] == "Inductive: each query on its own, with relations (taxonomy)"


@pytest.fixture
def rows(source):
    sampler = source.sampler("test", query=5, episodes=10)
    odd = replace(JOINT, title="a $x$ <b>", modes=("inductive", "joint"))
    found = compare([*find("class-graph"), odd], source.material(sampler, "test", base=False), sampler)
    return [row.row() for row in found]


def test_picture(tmp_path, rows):
    image = Image.open(save_comparison(tmp_path / "out" / "c.png", rows, "5-way 1-shot"))
    assert image.width == 1600
    assert len(set(np.asarray(image.convert("L")).flat)) > 50
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["c.png"]  # no temporary file is left
    longer = Image.open(save_comparison(tmp_path / "l.png", rows * 3))
    assert longer.height > 1.5 * image.height  # more methods, more room


def test_picture_of_prototypes_alone_and_of_one_episode(tmp_path, rows):
    alone = [{**rows[0], "ci95": None}]
    assert save_comparison(tmp_path / "c.svg", alone).stat().st_size > 1000


def test_picture_refuses_other_files(tmp_path, rows):
    with pytest.raises(InputError, match=r"out: expected a file that ends in \.png"):
        save_comparison(tmp_path / "c.gif", rows)
