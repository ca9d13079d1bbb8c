"""What is scored and learned from: features minus the mean, the transform, known classes."""

import numpy as np
import pytest
import torch

from fewshot.core.errors import InputError
from fewshot.evaluation.inputs import ScoredData, open_source
from fewshot.graph.class_graph import ClassGraph
from fewshot.graph.known_classes import KnownClasses
from fewshot.graph.transform import PowerTransform
from fewshot.methods.catalogue import find
from fewshot.methods.prototypes import prototypes
from fewshot.methods.pt_map import pt_map


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
