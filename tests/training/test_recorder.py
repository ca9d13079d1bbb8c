import sys

import torch
from torch import nn

from fewshot.core.loop import Stage
from fewshot.training.config import Config
from fewshot.training.loggers import Loggers
from fewshot.training.recorder import RunRecorder
from fewshot.training.run_folder import RunFolder

ROWS = [
    {"stage": "meta", "step": 0, "val_accuracy": 40.0},
    {"stage": "meta", "step": 10, "loss": 1.5, "accuracy": 60.0, "lr": 0.1},
    {"stage": "meta", "step": 10, "val_accuracy": 50.0, "val_1-shot": 45.0},
    {"stage": "graph", "step": 0, "val_accuracy": 55.0},
    {"stage": "graph", "step": 5, "val_accuracy": 56.0},
]


class Steps(Loggers):
    def __init__(self):
        self.seen = []

    def pass_on(self, row, step):
        self.seen.append((row["stage"], step))

    def close(self):
        self.seen.append("closed")


def record(path, rows, resume=False):
    folder, loggers = RunFolder(path, Config(), resume=resume), Steps()
    recorder = RunRecorder(folder, loggers, lambda: {"model": {}}, seconds=100.0)
    for row in rows:
        recorder.log(row)
    recorder.save("graph", None)
    recorder.close()
    state = folder.read_state()
    folder.close()
    return loggers.seen, state, folder.metrics()


def test_loggers_count_the_steps_of_all_stages_together(tmp_path):
    seen, state, rows = record(tmp_path / "run", ROWS)
    assert seen == [("meta", 0), ("meta", 10), ("meta", 10), ("graph", 10), ("graph", 15), "closed"]
    assert (state["stage"], state["fit"], state["model"]) == ("graph", None, {})
    assert state["seconds"] >= 100.0
    assert all(row.pop("seconds") >= 100.0 for row in rows)
    assert rows == ROWS


def test_a_resumed_run_passes_its_earlier_rows_on_again(tmp_path):
    whole, _, _ = record(tmp_path / "whole", ROWS)
    record(tmp_path / "run", ROWS[:3])
    resumed, _, rows = record(tmp_path / "run", ROWS[3:], resume=True)
    assert resumed == whole
    assert len(rows) == len(ROWS)


def test_without_a_terminal_there_is_a_line_per_validation(tmp_path, capsys):
    record(tmp_path / "run", ROWS)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert lines[0] == "meta step 0: validation accuracy 40.0 (100 s)"
    assert lines[1].startswith("meta step 10: loss 1.500, ")
    assert lines[1].endswith("validation accuracy 50.0, 1-shot 45.0 (100 s)")
    assert lines[2] == "graph step 0: validation accuracy 55.0 (100 s)"  # no loss of another stage


def test_on_a_terminal_there_is_a_bar(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    folder = RunFolder(tmp_path / "run", Config())
    recorder = RunRecorder(folder, None, dict)
    module = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    stage = Stage("meta", module, iter, 20, optimizer, 0.1, dict, 5, (4, "episodes"))
    recorder.display.step(stage, 5)
    recorder.log(ROWS[1])
    recorder.display.step(stage, 10)
    assert "loss 1.500" in recorder.display._now()
    assert "accuracy 60.0" in recorder.display._now()
    assert "episodes/s" in recorder.display._now()
    recorder.close()
    assert "10/20" in capsys.readouterr().err


def test_other_processes_record_nothing(tmp_path, capsys):
    recorder = RunRecorder(None, None, dict)
    recorder.log(ROWS[2])
    recorder.save("meta", None)
    recorder.close()
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err == ""
