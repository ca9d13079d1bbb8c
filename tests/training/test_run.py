"""A run from config to results: what it leaves, and that stopping it changes nothing."""

import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from run_files import metrics, results

from fewshot.core.errors import InputError
from fewshot.core.taxonomy import as_path
from fewshot.data.loading import load
from fewshot.evaluation.scores import evaluate, in_mode
from fewshot.model.calibration import Calibration
from fewshot.model.few_shot import GraphFewShot
from fewshot.training import config as configs
from fewshot.training import run as training
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


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    """A run that nothing stopped."""
    return train(config, out=tmp_path_factory.mktemp("runs") / "whole")


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
