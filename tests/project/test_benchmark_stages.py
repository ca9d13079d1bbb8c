"""The benchmark: who runs when, what counts as ok, what is kept; and each stage once, on very little."""

import argparse
import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

from fewshot.data.packed import PackedDataset
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.training.config import from_dict

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments" / "benchmark"))
lines = pytest.importorskip("lines")
measure = pytest.importorskip("measure")
stages = pytest.importorskip("stages")
summary = pytest.importorskip("summary")


def line(ours: float, theirs: float | None, target: float | None = None, **options) -> "lines.Line":
    times = None if theirs is None else measure.Times.of([theirs])
    return lines.Line("work", "peer", measure.Times.of([ours]), times, target, **options)


def test_contenders_take_turns_and_change_order():
    order: list[str] = []
    contenders = {name: lambda name=name: order.append(name) for name in "abc"}
    times = measure.race(contenders, repetitions=3, warmup=1)
    assert "".join(order) == "cba" + "abc" + "cba" + "abc"  # the first round is the warm-up
    assert {name: len(found.all) for name, found in times.items()} == {"a": 3, "b": 3, "c": 3}


def test_garbage_is_collected_between_and_not_during(monkeypatch):
    seen: list[bool] = []
    monkeypatch.setattr(measure.gc, "collect", lambda: seen.append(measure.gc.isenabled()))
    assert measure.race({"a": lambda: seen.append(measure.gc.isenabled())}, 1, warmup=0)
    assert seen == [True, False]
    assert measure.gc.isenabled()


def test_finish_is_within_the_time():
    def wait() -> None:
        end = measure.time.perf_counter() + 0.002
        while measure.time.perf_counter() < end:
            pass

    assert measure.race({"a": lambda: None}, 2, finish=wait)["a"].median >= 0.002


def test_median_and_spread():
    times = measure.Times.of([5.0, 1.0, 2.0, 3.0, 4.0])
    assert times == (3.0, 2.0, (5.0, 1.0, 2.0, 3.0, 4.0))  # between the quartiles 2 and 4
    assert measure.Times.of([7.0]).spread == 0


@pytest.mark.parametrize(
    ("ours", "theirs", "options", "ratio", "verdict"),
    [
        (2.0, 12.0, {"target": 6}, 6.0, "ok"),
        (2.0, 11.0, {"target": 6}, 5.5, "short"),
        (0.3, 1.0, {"target": 0.3, "at_most": True}, 0.3, "ok"),
        (0.4, 1.0, {"target": 0.3, "at_most": True}, 0.4, "short"),
        (2.0, 12.0, {"target": 6, "as_good": False}, 6.0, "short"),
        (2.0, 12.0, {}, 6.0, ""),
        (2.0, None, {"target": 6}, None, ""),
        (2.0, 1.5, {"target": 6, "per": 8, "theirs_per": 1}, 6.0, "ok"),  # a unit: 0.25 against 1.5
    ],
)
def test_verdict(ours, theirs, options, ratio, verdict):
    row = line(ours, theirs, **options).row()
    assert row["ratio"] == (None if ratio is None else pytest.approx(ratio))
    assert row["verdict"] == verdict


def test_limit_is_the_slower_of_operations_and_bytes():
    limits = measure.Limits(float32=100.0, bfloat16=400.0, copy=10.0)
    assert measure.Floor(1e9, 1e7).seconds(limits) == pytest.approx(0.01)
    assert measure.Floor(1e9, 1e9).seconds(limits) == pytest.approx(0.1)
    assert measure.Floor(1e9, 0, "bfloat16").seconds(limits) == pytest.approx(0.0025)
    row = line(0.05, None, floor=measure.Floor(1e9, 0)).row(limits)
    assert row["limit"]["share"] == pytest.approx(0.2)


def test_table_ends_its_lines_with_the_verdict():
    rows = [line(2.0, 12.0, 6).row(), line(2.0, None, 6, note="peer is not installed").row()]
    header, first, second = lines.table(rows).splitlines()
    assert header.split() == ["work", "ours", "against", "theirs", "ratio", "target", "of", "limit"]
    assert first.split() == ["work", "2,000", "ms", "peer", "12,000", "ms", "6", ">=", "6", "ok"]
    assert second.endswith("peer is not installed")


def test_files_are_whole_and_name_no_folder(tmp_path, capsys):
    options = argparse.Namespace(results=tmp_path, data="folder:/home/me/birds", features=Path("/x/f.npz"))
    limits = measure.Limits(1.0, 2.0, 3.0)
    rows = stages.conclude("stage", [line(2.0, 12.0, 6)], options, limits=limits, extra_facts=[1])
    kept = json.loads((tmp_path / "stage.json").read_text())
    assert kept["rows"] == json.loads(json.dumps(rows))
    assert kept["rows"][0]["ours"]["all"] == [2.0]
    assert kept["options"] == {"data": "folder:birds", "features": "f.npz"}
    assert kept["machine"]["torch"]
    assert kept["extra_facts"] == [1]
    assert [file.name for file in tmp_path.iterdir()] == ["stage.json"]
    assert capsys.readouterr().out.splitlines()[2].endswith("ok")  # after the stage's name and the header


@pytest.fixture
def stage(monkeypatch, tmp_path):
    """Runs a stage on little data, without measuring the machine; gives its rows by what they compare."""
    monkeypatch.setattr(measure.Limits, "measured", lambda device="cpu": measure.Limits(100.0, 100.0, 10.0))
    materials = importlib.import_module("materials")
    of_features, of_images = materials.generated_features, materials.generated_images
    monkeypatch.setattr(
        materials, "generated_features", lambda c, n, seed, **_: of_features(6, 20, seed, size=16)
    )
    monkeypatch.setattr(materials, "generated_images", lambda c, n, size: of_images(6, n, min(size, 32)))

    def run(name: str, *words: str) -> list[dict]:
        main = importlib.import_module(name).main
        main([*words, "--repetitions", "1", "--results", str(tmp_path)])
        return json.loads((tmp_path / f"{name}.json").read_text())["rows"]

    return run


def test_sampling_beside_learn2learn(stage):
    pytest.importorskip("learn2learn", reason="learn2learn could not be built here")
    rows = stage("sampling", "--episodes", "16", "--tasks", "2")
    assert [row["ratio"] is not None for row in rows] == [True, True, True, False]
    assert rows[0]["verdict"] in ("ok", "short")


def test_evaluation_and_easyfsl_agree(stage):
    pytest.importorskip("easyfsl", reason="easyfsl comes with `make benchmark`")
    whole, _ = stage("evaluation", "--episodes", "20", "--tasks", "20")
    # Nearest by angle and nearest by distance to prototypes that are not normalised: not always the same.
    assert whole["accuracy"] == pytest.approx(whole["theirs_accuracy"], abs=5)


def test_easyfsl_gets_the_very_same_episodes():
    easy, materials = importlib.import_module("easy"), importlib.import_module("materials")
    data = materials.generated_features(6, 20, 0, size=4)
    sampler = EpisodeSampler(data, way=5, shot=2, query=3, batch=4, episodes=6)
    single, lists = easy.tasks(sampler, 5), [row for e in sampler for row in easy.index_lists(e)]
    assert (len(single), len(lists)) == (5, 6)
    for (support, labels, query, answers), items in zip(single, lists, strict=False):
        by_class = data.items[items].view(5, 2 + 3, 4)
        assert torch.equal(by_class[:, :2].flatten(0, 1), support)
        assert torch.equal(by_class[:, 2:].flatten(0, 1), query[answers.argsort(stable=True)])
        assert labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_joint_inference(stage):
    pytest.importorskip("easyfsl", reason="easyfsl comes with `make benchmark`")
    peers = ("PrototypicalNetworks", "PTMAP", "TIM", "LaplacianShot")
    rows = stage("joint", "--episodes", "4", "--share", "0.01")
    assert [row["against"] for row in rows] == [f"EasyFSL {n}" for n in peers]
    assert all(0 <= row["theirs_accuracy"] <= 100 for row in rows)


def test_meta_training_is_the_same_one_by_one(stage):
    (row,) = stage("meta_training", "--episodes", "4", "--few", "4", "--batch", "2")
    assert row["weights_apart"] < 1e-4


def test_training_beside_learn2learn(stage):
    pytest.importorskip("learn2learn", reason="learn2learn could not be built here")
    rows = stage("training", "--sizes", "16", "--steps", "2", "--their-steps", "2", "--batch", "2")
    assert [row["work"] for row in rows] == ["conv4 16×16, eager", "conv4 16×16, compiled"]
    assert all(row["ratio"] > 0 and row["images_a_second"] > 0 for row in rows)
    assert (rows[0]["units"], rows[0]["theirs_units"]) == (4, 2)


def test_extraction(stage):
    rows = stage("extraction", "--images", "6", "--size", "32", "--widths", "4", "4", "8", "8")
    assert len(rows) == 8
    assert rows[0]["against"] == "float32, contiguous, by 8"
    targets = {row["against"]: row["theirs_each"] for row in rows if row["target"]}
    assert list(targets.values()) == [min(row["theirs_each"] for row in rows)]  # the fastest plain way
    assert rows[0]["least_cosine"] > 0.999
    assert rows[0]["limit"]["share"] > 0


def test_start_up(stage, monkeypatch):
    start_up, commands = importlib.import_module("start_up"), []
    monkeypatch.setattr(start_up, "process", lambda *words, **_: lambda: commands.append(words))
    rows = stage("start_up")
    assert [row["at_most"] for row in rows] == [True] * 3
    assert rows[1]["theirs_each"] == 150
    assert {words[1] for words in commands} == {"-c", "--help", "predict"}


def test_rehearsal(stage, monkeypatch):
    def noise(classes, count, size, seed):
        images = torch.randint(256, (count, 3, size, size), dtype=torch.uint8)
        return PackedDataset(images, torch.zeros(count, dtype=torch.int64), ("noise",))

    rehearsal = importlib.import_module("rehearsal")
    monkeypatch.setattr(rehearsal, "SPLITS", {"train": 6, "val": 5, "test": 5})
    monkeypatch.setattr(rehearsal, "SIZE", 16)
    monkeypatch.setattr(rehearsal, "generated_images", noise)
    small = {"name": "small", "data": "glyphs", "images": {"size": 16}, "backbone": {"width": 4}}
    few = {"graph": {"ways": [3]}, "evaluate": {"ways": [3]}}
    config = from_dict({**small, **few, "pretrain": {"epochs": 1, "batch": 8}})
    monkeypatch.setattr(rehearsal, "read", lambda path: config)
    found = stage("rehearsal", "--count", "20", "--episodes", "10", "--steps", "1")
    rows = {row["work"]: row for row in found}
    assert rows["pretraining, one epoch"]["images_a_second"] > 0
    assert rows["packing, per image"]["units"] == 16 * 20


def test_loading(monkeypatch, stage):
    loading = importlib.import_module("loading")
    monkeypatch.setattr(loading, "private_memory", lambda pack: loading.read_all(pack.path))
    monkeypatch.setattr(loading, "generated_images", importlib.import_module("materials").generated_images)
    first, private = stage("loading", "--images", "20", "--batch", "2")
    assert first["pixels_apart"] == 0
    assert private["ours_each"] < private["theirs_each"]


def test_shares_of_the_time_are_shares(stage, tmp_path):
    main = importlib.import_module("where").main
    main(["--episodes", "8", "--steps", "2", "--results", str(tmp_path)])
    shares = json.loads((tmp_path / "where.json").read_text())["shares"]
    assert shares["training: conv4 32×32, eager"]["convolutions"] > 0
    for own in shares.values():
        assert own.pop("operators") > 0
        assert sum(own.values()) == pytest.approx(1)
        assert all(0 <= share <= 1 for share in own.values())


def test_closing_table_has_the_rows_of_all_stages(tmp_path):
    options, limits = argparse.Namespace(results=tmp_path), measure.Limits(1.0, 1.0, 1.0)
    for name in ("one", "two"):
        stages.conclude(name, [line(2.0, 12.0, 6)], options, limits=limits)
    shown = lines.table(summary.rows(tmp_path, ("one", "two"))).splitlines()
    assert [entry.split()[0] for entry in shown] == ["work", "one:", "two:"]
    assert all(entry.endswith("ok") for entry in shown[1:])
