import json
import os

import pytest
import torch

from fewshot.core.errors import InputError
from fewshot.core.files import HOST, MARK, unfinished
from fewshot.core.results_file import read_results
from fewshot.training import config as configs
from fewshot.training.config import Config, Meta
from fewshot.training.run_folder import RunFolder


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_an_earlier_run_is_moved_and_none_is_lost(tmp_path):
    for seed in range(3):
        run = RunFolder(tmp_path / "a", Config(seed=seed))
        run.append({"seed": seed})
        if seed == 0:  # the first is finished, the second is not
            run.write_results([{"accuracy": 50.0}])
            run.finish()
        run.close()
    assert names(tmp_path) == ["a", "a.1", "a.2"]
    seeds = {name: configs.read(tmp_path / name / "config.yaml").seed for name in names(tmp_path)}
    assert seeds == {"a": 2, "a.1": 0, "a.2": 1}
    assert json.loads((tmp_path / "a.1" / "results.json").read_text()) == [{"accuracy": 50.0}]


def test_resuming_puts_the_metrics_back_to_the_saved_state(tmp_path):
    run = RunFolder(tmp_path / "a", Config())
    run.append({"step": 1})
    run.write_state({"weights": torch.ones(2)})
    run.append({"step": 2})
    run.close()
    with (tmp_path / "a" / "metrics.jsonl").open("ab") as stream:
        stream.write(b'{"step": 3, "lo')  # what a kill leaves
    run = RunFolder(tmp_path / "a", Config(), resume=True)
    assert run.metrics() == [{"step": 1}, {"step": 2}]  # the torn line is left out
    state = run.read_state()
    assert torch.equal(state["weights"], torch.ones(2))
    run.append({"step": 2, "again": True})
    assert run.metrics() == [{"step": 1}, {"step": 2, "again": True}]


def test_without_a_state_the_metrics_start_from_nothing(tmp_path):
    run = RunFolder(tmp_path / "a", Config())
    run.append({"step": 1})
    run.close()
    run = RunFolder(tmp_path / "a", Config(), resume=True)
    assert run.read_state() is None
    assert run.metrics() == []


def test_finished_means_results_and_no_state(tmp_path):
    run = RunFolder(tmp_path / "a", Config())
    assert not run.finished
    run.write_state({})
    assert not run.finished
    run.write_results([])
    assert not run.finished  # its report may still be missing
    run.finish()
    assert run.finished
    assert RunFolder(tmp_path / "a", Config(), resume=True).finished


def test_resuming_where_there_is_no_run_says_that_it_begins(tmp_path, capsys):
    RunFolder(tmp_path / "a", Config(), resume=True).close()
    assert capsys.readouterr().err == f"there is no run in {tmp_path / 'a'} to resume; a new one begins\n"
    RunFolder(tmp_path / "a", Config(), resume=True).close()
    assert capsys.readouterr().err == ""


def test_resuming_another_config_names_the_difference(tmp_path):
    RunFolder(tmp_path / "a", Config(meta=Meta(steps=900))).close()
    with pytest.raises(InputError, match=r"resume: .*got meta\.steps: 5 instead of 900 \(without --resume"):
        RunFolder(tmp_path / "a", Config(meta=Meta(steps=5)), resume=True)
    assert names(tmp_path) == ["a"]


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("...")
    with pytest.raises(InputError, match="out: expected an empty folder or one of a run"):
        RunFolder(tmp_path, Config())
    with pytest.raises(InputError, match="out: expected a folder, got the file"):
        RunFolder(tmp_path / "thesis.tex", Config())
    assert names(tmp_path) == ["thesis.tex"]


def test_an_active_run_is_left_alone(tmp_path):
    pytest.importorskip("fcntl")
    run = RunFolder(tmp_path / "a", Config())
    for resume in (True, False):
        with pytest.raises(InputError, match="belongs to a run that is still active"):
            RunFolder(tmp_path / "a", Config(), resume=resume)
    run.close()
    RunFolder(tmp_path / "a", Config(), resume=True).close()
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("state", [b"", b"random bytes", {}, [], {"metrics": "x"}, {"metrics": True}])
def test_a_state_that_is_none_is_named(tmp_path, state):
    run = RunFolder(tmp_path / "a", Config())
    if isinstance(state, bytes):
        (run.path / "state.pt").write_bytes(state)
    else:
        torch.save(state, run.path / "state.pt")
    with pytest.raises(InputError, match=r"state\.pt: .*expected"):
        run.read_state()


@pytest.mark.parametrize("line", [b"x", b"5", b"[" * 100_000])
def test_metrics_that_are_none_are_named(tmp_path, line):
    run = RunFolder(tmp_path / "a", Config())
    (run.path / "metrics.jsonl").write_bytes(line + b"\n")
    with pytest.raises(InputError, match=r"metrics\.jsonl: expected the metrics of a run"):
        run.metrics()


@pytest.mark.parametrize("text", ["x", "[{}]", "5", "[" * 100_000])
def test_results_that_are_none_are_named(tmp_path, text):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(InputError, match=r"results\.json: expected the results of a run"):
        read_results(tmp_path / "results.json")


def test_what_a_kill_left_is_swept_when_the_run_goes_on(tmp_path):
    run = RunFolder(tmp_path / "a", Config())
    run.close()
    (run.path / "csv").mkdir()
    left = [run.path / ".fewshot-00000000-1-1.pt", run.path / "csv" / f"{MARK}{HOST}-999999999-1.csv"]
    for file in left:
        file.touch()
    os.utime(left[0], (0, 0))  # of another machine, and old
    own = unfinished(run.path / "state.pt")
    own.touch()
    RunFolder(tmp_path / "a", Config(), resume=True).close()
    assert [file.exists() for file in left] == [False, False]
    assert own.exists()
