import json
import math
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from fewshot import backbones
from fewshot.core.errors import InputError
from fewshot.core.taxonomy import as_path
from fewshot.data.loading import load
from fewshot.evaluation import sure_sets
from fewshot.evaluation.scores import evaluate, in_mode
from fewshot.graph.class_graph import ClassGraph
from fewshot.model.calibration import Calibration
from fewshot.model.few_shot import GraphFewShot
from fewshot.training import config as configs
from fewshot.training import probabilities, processes, validation
from fewshot.training import run as training
from fewshot.training.build import build, load_weights
from fewshot.training.config import Augment, Backbone, Config, Evaluate, Graph, Images, Meta, Pretrain
from fewshot.training.final import final_evaluation
from fewshot.training.probabilities import calibrate
from fewshot.training.recorder import RunRecorder
from fewshot.training.run import train
from fewshot.training.samplers import drawn_from

# Trains by a config, and ends itself with SIGKILL at the n-th call of a method.
KILLED = """
import os, signal, sys
import torch
from fewshot.training import config, recorder, run, run_folder, validation

folder, name, method, count = sys.argv[1], *sys.argv[2].split("."), int(sys.argv[3])
owner = {"RunRecorder": recorder.RunRecorder, "RunFolder": run_folder.RunFolder}[name]
original, calls = getattr(owner, method), []

def killing(*arguments):
    calls.append(1)
    if len(calls) == count:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments)

setattr(owner, method, killing)
validation.VAL_EPISODES = 20
torch.set_num_threads(1)
run.train(config.read(sys.argv[4]), out=folder, resume=True, save_every=0.0)
"""


@pytest.fixture(scope="module", autouse=True)
def small(tmp_path_factory):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tiny images
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEWSHOT_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(validation, "VAL_EPISODES", 20)
        patch.setattr(probabilities, "ANSWERS", 200)
        patch.setattr(sure_sets, "LEAST", 4)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    from PIL import Image

    root = tmp_path_factory.mktemp("data")
    generator = torch.Generator().manual_seed(0)
    for split, classes in (("train", 6), ("val", 4), ("test", 5)):
        for number in range(classes):
            (root / split / f"{split}{number}").mkdir(parents=True)
            base = torch.randint(256, (4, 4), generator=generator)
            for i in range(10):
                noisy = (base + 50 * torch.randn(4, 4, generator=generator)).clamp(0, 255).byte()
                image = Image.fromarray(noisy.numpy()).resize((16, 16))
                image.save(root / split / f"{split}{number}" / f"{i}.png")
    return Config(
        name="tiny",
        data=f"folder:{root}",
        images=Images(size=16, channels=1),
        augment=Augment(crop=1, flip=True, noise=0.1),
        backbone=Backbone(width=4),
        precision="32-true",
        pretrain=Pretrain(epochs=2, batch=15),
        meta=Meta(steps=4, batch=2, way=3, query=2, validate_every=2),
        graph=Graph(steps=4, batch=2, ways=(3,), shots=(1, 2), query=2, validate_every=2),
        evaluate=Evaluate(ways=(3, 5), shots=(1,), query=3, episodes=30),
    )


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    """A run that nothing stopped."""
    return train(config, out=tmp_path_factory.mktemp("runs") / "whole")


def results(folder):
    return json.loads((folder / "results.json").read_text())


def metrics(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_a_run_leaves_all_files_that_are_promised(whole, config):
    promised = {"config.yaml", "metrics.jsonl", "results.json", "checkpoint.pt", "report.html"}
    assert promised <= {p.name for p in whole.iterdir()}
    assert not (whole / "state.pt").exists()
    assert configs.read(whole / "config.yaml") == config
    modes = [
        ("prototypes", "inductive"),
        *(("class-graph", m) for m in ("inductive", "joint", "joint-known")),
    ]
    rows = results(whole)
    assert [(r["way"], r["shot"], r["method"], r["mode"]) for r in rows] == [
        (way, 1, *mode) for way in (3, 5) for mode in modes
    ]
    for way in (3, 5):  # all methods on the very same episodes
        assert len({r["fingerprint"] for r in rows if r["way"] == way}) == 1
    assert {r["split"] for r in rows} == {"test"}
    assert [row["stage"] for row in metrics(whole) if row["step"] == 0] == ["pretrain", "meta", "graph"]


def test_the_checkpoint_gives_the_results_again(whole, config):
    model = GraphFewShot.load(whole / "checkpoint.pt")
    splits = load(config.data, size=16, channels=1)
    setting = {"split": "test", "query": 3, "seed": 0}
    assert [{**s.row(), **setting} for s in final_evaluation(config, splits.test).scores(model)] == results(
        whole
    )
    assert configs.from_dict(model.extra["config"]) == config
    # The base mean is the mean of the training features: centred, they have none.
    torch.testing.assert_close(model.features(splits.train).mean(), torch.zeros(4), atol=1e-4, rtol=0)


def test_the_checkpoint_has_the_base_classes_as_known_classes(whole, config):
    model = GraphFewShot.load(whole / "checkpoint.pt")
    train = load(config.data, size=16, channels=1).train
    assert model.known.names == train.class_names == tuple(f"train{c}" for c in range(6))
    features = torch.nn.functional.normalize(model.transform(model.features(train).items), dim=-1)
    means = torch.stack([features[train.labels == c].mean(0) for c in range(6)])
    expected = torch.nn.functional.normalize(means, dim=-1)
    torch.testing.assert_close(model.known.prototypes, expected, atol=1e-4, rtol=0)
    assert model.known.paths == (None if train.paths is None else tuple(map(as_path, train.paths)))


def test_rows_with_relations_stand_next_to_those_without(whole, config):
    model, test = GraphFewShot.load(whole / "checkpoint.pt"), load(config.data, size=16, channels=1).test
    assert final_evaluation(config, test).relations(model) is None  # no paths
    model.known = replace(model.known, paths=tuple(("thing", str(c % 2), f"train{c}") for c in range(6)))
    test = replace(test, paths=tuple(f"thing/{c % 2}/test{c}" for c in range(5)))
    final = final_evaluation(config, test)
    final = replace(final, samplers=final.samplers[:1])
    rows = [score.row() for score in final.scores(model)]
    assert [row | {"split": "test", "query": 3, "seed": 0} for row in rows[:4]] == results(whole)[:4]
    assert [(row["mode"], row["relations"]) for row in rows[4:]] == [
        (mode, "taxonomy") for mode in ("inductive", "joint", "joint-known")
    ]
    assert len({row["fingerprint"] for row in rows}) == 1
    predict = in_mode(model.classify, "joint", final.relations(model))
    sampler = drawn_from(final.samplers[0], model.features(test))
    again = evaluate(predict, sampler, method="class-graph", mode="joint", relations="taxonomy")
    assert again.row() == rows[5]


def test_the_checkpoint_has_what_the_validation_classes_say_of_probabilities(whole, config):
    model = GraphFewShot.load(whole / "checkpoint.pt")
    val = load(config.data, size=16, channels=1).val
    kept = model.calibration.content()
    calibrate(model, val, config.seed)
    assert model.calibration.content() == kept
    assert model.calibration.thresholds.grids["joint-known", False].ways == (2, 4)  # of four classes
    assert all({"nll", "aurc", "ece"} <= row.keys() for row in results(whole))
    row = {"method": "prototypes", "way": 3}
    [ours] = [r for r in results(whole) if row.items() <= r.items()]
    model.calibration = Calibration(prototypes=(5.0, 0.0, 0.0))
    [other, *_] = final_evaluation(config, load(config.data, size=16, channels=1).test).scores(model)
    assert other.row()["accuracy"] == ours["accuracy"]
    assert other.row()["nll"] > ours["nll"]


def test_the_same_config_gives_the_same_figures(whole, config, tmp_path):
    again = train(config, out=tmp_path / "again", loggers=())
    assert results(again) == results(whole)
    assert metrics(again) == metrics(whole)
    other = train(replace(config, seed=1), out=tmp_path / "other", loggers=())
    assert metrics(other) != metrics(whole)


def test_a_run_that_was_killed_again_and_again_ends_the_same(whole, config, tmp_path):
    folder = tmp_path / "killed"
    configs.write(config, tmp_path / "tiny.yaml")
    moments = [
        ("RunRecorder.progress", 5),  # in pretraining
        ("RunFolder.append", 15),  # in the graph stage, before a row is written
        ("RunFolder.write_results", 1),  # after the test classes are scored
    ]
    for moment, count in moments:
        arguments = [str(folder), moment, str(count), str(tmp_path / "tiny.yaml")]
        ended = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False, capture_output=True)
        assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
        assert (folder / "state.pt").exists()
        assert not (folder / "results.json").exists()
    with (folder / "metrics.jsonl").open("a") as stream:
        stream.write('{"stage": "gra')
    assert train(config, out=folder, resume=True) == folder
    assert results(folder) == results(whole)
    assert metrics(folder) == metrics(whole)
    models = [GraphFewShot.load(run / "checkpoint.pt") for run in (folder, whole)]
    torch.testing.assert_close(*(model.known.prototypes for model in models))
    assert models[0].known.names == models[1].known.names
    saved = [model.state_dict() for model in models]
    for key, value in saved[0].items():
        assert torch.equal(value, saved[1][key]), key


def test_sigint_saves_the_state_and_says_so(whole, config, tmp_path, monkeypatch):
    progress = RunRecorder.progress

    def interrupting(self, stage, step):
        progress(self, stage, step)
        if (stage.name, step) == ("meta", 3):
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(RunRecorder, "progress", interrupting)
        with pytest.raises(KeyboardInterrupt, match="the same command with --resume continues from here"):
            train(config, out=tmp_path / "run")
    state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    assert (state["stage"], state["fit"]["step"]) == ("meta", 3)
    train(config, out=tmp_path / "run", resume=True)
    assert results(tmp_path / "run") == results(whole)


def test_resuming_a_finished_run_changes_nothing(whole, config):
    before = {p.name: p.stat().st_mtime_ns for p in whole.iterdir()}
    assert train(config, out=whole, resume=True) == whole
    assert {p.name: p.stat().st_mtime_ns for p in whole.iterdir() if p.name != ".lock"} == {
        name: time for name, time in before.items() if name != ".lock"
    }


def test_resuming_with_other_data_is_refused(config, tmp_path, monkeypatch):
    def stop(self, stage, step):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunRecorder, "progress", stop)
        with pytest.raises(KeyboardInterrupt):
            train(config, out=tmp_path / "run")
    load_same = training.load
    monkeypatch.setattr(training, "load", lambda *a, **b: replace(load_same(*a, **b), hash="other"))
    with pytest.raises(
        InputError, match=r"data: expected the data that the run in .* began with, got folder"
    ):
        train(config, out=tmp_path / "run", resume=True)


def test_resuming_with_another_config_names_the_difference(whole, config):
    with pytest.raises(InputError, match=r"resume: .* got meta\.steps: 9 instead of 4"):
        train(replace(config, meta=replace(config.meta, steps=9)), out=whole, resume=True)


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


def test_training_computes_with_cudnn_whose_algorithms_do_not_vary(config, tmp_path, monkeypatch):
    found = []

    def look(*arguments):
        found.append((torch.backends.cudnn.enabled, torch.backends.cudnn.deterministic))
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train_stages", look)
    with pytest.raises(KeyboardInterrupt):
        train(config, out=tmp_path / "run")
    assert found == [(True, True)]


def test_a_compiled_run_compiles_its_backbone_before_anything_is_written(config, tmp_path, monkeypatch):
    def refuse(backbone, device):
        raise InputError(f"compile: {type(backbone).__name__} on {device}")

    monkeypatch.setattr(training, "compile_backbone", refuse)
    with pytest.raises(InputError, match="compile: Conv4 on cpu"):
        train(replace(config, compile=True), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_starts_from_random_weights_graph_included(config):
    model = build(config, load(config.data, size=16, channels=1))
    for key, value in ClassGraph().state_dict().items():
        assert torch.equal(model.graph.state_dict()[key], value)
    mean, std = (model.preprocess.config[key] for key in ("mean", "std"))
    images = load(config.data, size=16, channels=1).train.items.float() / 255
    assert mean == [pytest.approx(images.mean().item(), abs=1e-3)]
    assert std == [pytest.approx(images.std().item(), abs=1e-3)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"evaluate": Evaluate(ways=(20,))}, r"evaluate \(test split\): way: .*5.*20"),
        ({"evaluate": Evaluate(ways=(5,), shots=(5,), query=15)}, r"evaluate \(test split\): .*10"),
        ({"meta": Meta(way=7, query=2)}, r"meta \(train split\): way: .*6.*7"),
        ({"graph": Graph(ways=(3, 9), query=2)}, r"graph \(train split\): way: .*6.*9"),
        ({"pretrain": Pretrain(batch=128)}, r"pretrain\.batch: expected at most 60 \(images\), got 128"),
        ({"backbone": Backbone(name="resnet")}, r"backbone\.name: expected one of conv4, resnet12"),
        ({"weights": "/nowhere.pt"}, r"weights: expected a file, got /nowhere\.pt"),
    ],
)
def test_what_the_data_cannot_serve_is_an_error_before_anything_starts(config, tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        train(replace(config, **change), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("devices", ["many", 0, "-1"])
def test_devices_are_a_number_or_auto(config, devices):
    with pytest.raises(InputError, match="devices: expected auto or a number from 1 up, got"):
        train(config, devices=devices)


def test_several_devices_need_a_script_to_start_again(config, monkeypatch):
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    monkeypatch.setattr(sys, "argv", ["-c"])
    with pytest.raises(InputError, match="devices: expected 1, as there is no script"):
        train(config, devices=2)


def test_processes_that_run_are_not_left(config, monkeypatch):
    monkeypatch.setattr(processes, "_running", lambda: 2)
    with pytest.raises(InputError, match=r"devices: expected auto or 2 .*, got 1"):
        train(config, devices=1)


def test_a_strangers_weights_are_taken_whole_or_not_at_all(tmp_path):
    path = tmp_path / "weights.pt"
    theirs, ours = backbones.conv4(1, 4), backbones.conv4(1, 4)
    torch.save(theirs.state_dict(), path)
    load_weights(ours, path)
    assert torch.equal(ours.conv1.weight, theirs.conv1.weight)
    torch.save({k.replace("conv1", "stem"): v for k, v in theirs.state_dict().items()}, path)
    with pytest.raises(InputError, match=r"missing: conv1\.weight; unknown: stem\.weight"):
        load_weights(ours, path)
    torch.save(backbones.conv4(3, 4).state_dict(), path)
    with pytest.raises(InputError, match=r"of another shape: conv1\.weight"):
        load_weights(ours, path)
    path.write_bytes(b"no")
    with pytest.raises(InputError, match=r"weights\.pt: expected a file that torch\.save wrote"):
        load_weights(ours, path)


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
