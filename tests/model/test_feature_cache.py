"""Features that are kept from one call to the next."""

import sqlite3
import threading
from contextlib import closing

import pytest
import torch

from fewshot import backbones
from fewshot.graph.class_graph import ClassGraph
from fewshot.model import feature_cache
from fewshot.model.feature_cache import FILE, FeatureCache, fingerprint
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.preprocess import Preprocess


def model(seed=0, size=32, mean=None):
    torch.manual_seed(seed)
    backbone = backbones.conv4(in_channels=1, width=8)
    preprocess = Preprocess(size=size, channels=1)
    return GraphFewShot(backbone, ClassGraph(), preprocess=preprocess, base_mean=mean).eval()


def test_what_was_put_is_found_by_content_and_model(tmp_path):
    contents, features = [b"one", b"two"], torch.randn(2, 8)
    FeatureCache(model(), tmp_path).put(contents, features)
    found = FeatureCache(model(), tmp_path).get([b"two", b"three", b"one"])
    assert sorted(found) == [0, 2]
    assert torch.equal(found[0], features[1])
    assert torch.equal(found[2], features[0])
    for other in (model(seed=1), model(size=28), model(mean=torch.ones(8))):
        assert FeatureCache(other, tmp_path).get(contents) == {}


def test_the_fingerprint_is_that_of_the_weights_not_of_the_object():
    assert fingerprint(model()) == fingerprint(model())
    other = model()
    other.mirror = True
    assert fingerprint(other) != fingerprint(model())


def test_it_is_bounded_and_keeps_what_was_used_last(tmp_path):
    cache = FeatureCache(model(), tmp_path, most=40 * 16)  # 40 features of 4 numbers
    for number in range(100):
        cache.put([b"first" if number == 0 else str(number).encode()], torch.full((1, 4), float(number)))
        assert cache.get([b"first"])  # used again and again
    with sqlite3.connect(tmp_path / FILE) as base:
        assert base.execute("SELECT COUNT(*) FROM features").fetchone()[0] <= 40
    assert cache.get([b"99"])[0][0] == 99
    assert cache.get([b"1"]) == {}


def test_several_writers_at_once(tmp_path):
    def write(start):
        for number in range(start, start + 20):
            FeatureCache(shared, tmp_path).put([str(number).encode()], torch.full((1, 2), float(number)))

    shared = model()
    threads = [threading.Thread(target=write, args=(20 * i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = FeatureCache(shared, tmp_path).get([str(number).encode() for number in range(60)])
    assert {place: int(value[0]) for place, value in found.items()} == {i: i for i in range(60)}


@pytest.mark.parametrize("broken", ["a file of other content", "a folder that is a file"])
def test_where_nothing_can_be_kept_nothing_is_found(tmp_path, broken):
    folder = tmp_path / "cache"
    if broken.startswith("a folder"):
        folder.write_text("")
    else:
        folder.mkdir()
        (folder / FILE).write_bytes(b"not a database, but something else" * 100)
    cache = FeatureCache(model(), folder)
    cache.put([b"one"], torch.ones(1, 2))
    assert cache.get([b"one"]) == {}


@pytest.mark.parametrize(
    "value",
    ["x'00'", "x'00000000'", "zeroblob(40)", "zeroblob(2000000)", "'text'", "5", "substr(value, 1, 12)",
     "CAST(value || x'00000000' AS BLOB)"],
)  # fmt: skip
def test_what_was_changed_is_not_found(tmp_path, value):
    cache = FeatureCache(model(), tmp_path)
    cache.put([b"one"], torch.randn(1, 8))
    with closing(sqlite3.connect(tmp_path / FILE)) as base, base:
        base.execute(f"UPDATE features SET value = {value}")
    assert cache.get([b"one"]) == {}


def test_a_database_that_never_ends_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_cache, "SLOW", 0.01)
    cache = FeatureCache(model(), tmp_path)
    cache.put([b"one"], torch.randn(1, 8))
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x, 1, x FROM c"
    with closing(sqlite3.connect(tmp_path / FILE)) as base, base:
        base.execute("DROP TABLE features")
        base.execute(f"CREATE VIEW features (key, used, value) AS {endless}")
    assert cache.get([b"one"]) == {}


def test_one_that_is_locked_is_waited_for_once(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_cache, "WAIT", 0.01)
    cache = FeatureCache(model(), tmp_path)
    cache.put([b"one"], torch.randn(1, 8))
    with closing(sqlite3.connect(tmp_path / FILE)) as base:
        base.execute("BEGIN EXCLUSIVE")
        assert cache.get([b"one"]) == {}
    assert cache.get([b"one"]) == {}  # no longer tried
    assert sorted(FeatureCache(model(), tmp_path).get([b"one"])) == [0]
