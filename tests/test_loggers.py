import csv

import pytest

from fewshot import loggers
from fewshot.config import Config
from fewshot.errors import InputError
from fewshot.loggers import Loggers

ROWS = [
    {"stage": "meta", "step": 1, "loss": 2.0},
    {"stage": "meta", "step": 2, "loss": 1.0, "val_accuracy": 50.0},
]


def test_csv_holds_every_row_and_a_resumed_run_no_row_twice(tmp_path):
    for _ in range(2):  # the second as after a resume: the earlier rows come again
        together = Loggers(["csv"], tmp_path, Config())
        for row in ROWS:
            together.log(row, row["step"])
        together.close()
    with (tmp_path / "csv" / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["meta/loss"]) for row in rows] == [2.0, 1.0]
    assert [row["step"] for row in rows] == ["1", "2"]
    assert rows[1]["meta/val_accuracy"] == "50.0"


def test_tensorboard_writes_its_events(tmp_path):
    pytest.importorskip("tensorboard")
    together = Loggers(["tensorboard"], tmp_path, Config())
    together.log(ROWS[0], 1)
    together.close()
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_a_failing_logger_warns_once_and_the_others_go_on(tmp_path, monkeypatch):
    class Failing:
        def log_metrics(self, numbers, step):
            raise ConnectionError("no\nnetwork")

    monkeypatch.setitem(loggers._MAKE, "wandb", lambda folder, config: Failing())
    monkeypatch.setattr(loggers, "check", lambda names: None)
    together = Loggers(["wandb", "csv"], tmp_path, Config())
    with pytest.warns(UserWarning, match="logger wandb is left out: no network") as caught:
        together.log(ROWS[0], 1)
    together.log(ROWS[1], 2)
    together.close()
    assert len(caught) == 1
    assert len((tmp_path / "csv" / "metrics.csv").read_text().splitlines()) == 3


def test_one_that_cannot_be_made_is_left_out(tmp_path, monkeypatch):
    def broken(folder, config):
        raise OSError("disk full")

    monkeypatch.setitem(loggers._MAKE, "csv", broken)
    with pytest.warns(UserWarning, match="logger csv is left out: disk full"):
        Loggers(["csv"], tmp_path, Config()).log(ROWS[0], 1)


def test_unknown_and_missing_ones_are_named(monkeypatch):
    with pytest.raises(InputError, match="logger: expected some of csv, tensorboard, wandb, got 'mlflow'"):
        loggers.check(["csv", "mlflow"])
    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        InputError, match=r"logger: wandb is not installed \(pip install 'fewshot\[wandb\]'\)"
    ):
        loggers.check(["wandb"])


def test_wandb_is_offline_without_a_key(tmp_path, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert not loggers._signed_in_to_wandb()
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert loggers._signed_in_to_wandb()
    (tmp_path / ".netrc").write_text("machine elsewhere.org login user password secret\n")
    assert not loggers._signed_in_to_wandb()
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert loggers._signed_in_to_wandb()
