import csv
import importlib.machinery
import itertools
import json
import os
import struct
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewshot.cli import entry as cli
from fewshot.core.errors import InputError
from fewshot.training import config as configs
from fewshot.training import loggers, validation
from fewshot.training.config import Backbone, Config, Evaluate, Graph, Images, Meta
from fewshot.training.loggers import Loggers

ROWS = [
    {"stage": "meta", "step": 1, "loss": 2.0},
    {"stage": "meta", "step": 2, "loss": 1.0, "val_accuracy": 50.0},
]


RESULTS = [{"method": "prototypes", "accuracy": 50.0}, {"method": "class-graph", "accuracy": 60.0}]


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """Weights & Biases of someone who is not signed in."""
    pytest.importorskip("wandb")
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_SILENT", "true")


def test_csv_holds_every_row_and_a_resumed_run_no_row_twice(tmp_path):
    for _ in range(2):  # the second as after a resume: the earlier rows come again
        together = Loggers(["csv"], tmp_path, Config())
        for row in ROWS:
            together.pass_on(row, row["step"])
        together.close()
    with (tmp_path / "csv" / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["meta/loss"]) for row in rows] == [2.0, 1.0]
    assert [row["step"] for row in rows] == ["1", "2"]
    assert rows[1]["meta/val_accuracy"] == "50.0"


def finish(together, folder):
    """What training ends with."""
    Image.new("RGB", (30, 20), "red").save(folder / "graph.png")
    (folder / "checkpoint.pt").write_bytes(b"weights")
    together.finish(RESULTS, {"class-graph": folder / "graph.png"}, folder / "checkpoint.pt")


def test_csv_has_the_table_too(tmp_path):
    finish(Loggers(["csv"], tmp_path, Config()), tmp_path)
    with (tmp_path / "csv" / "results.csv").open() as stream:
        assert [row["accuracy"] for row in csv.DictReader(stream)] == ["50.0", "60.0"]


def test_tensorboard_has_curves_table_and_picture_and_a_resumed_run_no_row_twice(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):
        together = Loggers(["tensorboard"], tmp_path, Config())
        for row in ROWS:
            together.pass_on(row, row["step"])
        finish(together, tmp_path)
        together.close()
    seen = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in seen.Scalars("meta/loss")] == [(1, 2.0), (2, 1.0)]
    assert b"|prototypes|50.0|" in seen.Tensors("results/text_summary")[0].tensor_proto.string_val[0]
    (image,) = seen.Images("class-graph")
    assert (image.width, image.height) == (30, 20)


def records(folder):
    """What an offline run of wandb holds, by kind; its service may still be writing the end."""
    for _ in range(100):
        if "exit" in (found := read_records(folder)):
            return found
        time.sleep(0.1)
    raise AssertionError(f"{folder}: no end, got {list(found)}")


def read_records(folder):
    """The file is one in LevelDB's log format, of protobufs."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, whole, found = next(folder.glob("*.wandb")).read_bytes(), 7, b"", {}
    while at + 7 <= len(data):
        if 2**15 - at % 2**15 < 7:  # too little of a block for another header
            at += 2**15 - at % 2**15
        length, part = struct.unpack("<HB", data[at + 4 : at + 7])
        if at + 7 + length > len(data):
            break
        whole, at = whole + data[at + 7 : at + 7 + length], at + 7 + length
        if part in (1, 4):  # the only, or the last one
            record, whole = Record.FromString(whole), b""
            kind = record.WhichOneof("record_type")
            found.setdefault(kind, []).append(getattr(record, kind))
    return found


def history(found, key):
    items = [item for row in found["history"] for item in row.item]
    return [json.loads(i.value_json) for i in items if (i.key or i.nested_key[0]) == key]


def test_wandb_offline_is_one_run_with_curves_table_picture_and_checkpoint(tmp_path, offline, capsys):
    for part in range(2):  # the second as after a resume
        together = Loggers(["wandb"], tmp_path, Config(name="quick", seed=7))
        for row in ROWS[: 1 + part]:
            together.pass_on(row, row["step"])
        if part == 1:
            finish(together, tmp_path)
        together.close()
    number = (tmp_path / "wandb" / "id").read_text()
    (run,) = (tmp_path / "wandb").glob("offline-run-*")
    (earlier,) = (tmp_path / "wandb" / "before-resumption").glob("offline-run-*")
    assert history(records(earlier), "meta/loss") == [2.0]
    said = f"wandb: the new folder has all rows; what was logged before is kept in {earlier}\n"
    assert said in capsys.readouterr().err
    found = records(run)
    start = found["run"][0]
    assert (start.run_id, start.project, start.display_name) == (number, "fewshot", "quick")
    assert {item.key: item.value_json for item in start.config.update}["seed"] == "7"
    assert history(found, "meta/loss") == [2.0, 1.0]
    (table,) = run.glob("files/media/table/*.json")
    content = json.loads(table.read_text())
    assert content["columns"] == ["method", "accuracy"]
    assert content["data"] == [["prototypes", 50.0], ["class-graph", 60.0]]
    (image,) = run.glob("files/media/images/*.png")
    assert Image.open(image).size == (30, 20)
    (artifact,) = (a for a in found["artifact"] if a.type == "model")
    (entry,) = artifact.manifest.contents
    assert entry.path == "checkpoint.pt"
    assert Path(entry.local_path).read_bytes() == b"weights"
    assert tmp_path in Path(entry.local_path).parents
    assert "WANDB_DATA_DIR" not in os.environ


def test_the_command_leaves_all_that_in_the_run_folder(tmp_path, offline, monkeypatch):
    pytest.importorskip("tensorboard")
    monkeypatch.setattr(validation, "VAL_EPISODES", 5)
    rng = np.random.default_rng(0)
    for split, number in itertools.product(("train", "val", "test"), range(3)):
        home = tmp_path / "letters" / split / f"{split}{number}"
        home.mkdir(parents=True)
        for i in range(6):
            Image.fromarray(rng.integers(0, 255, (16, 16), dtype=np.uint8)).save(home / f"{i}.png")
    config = Config(
        data=f"folder:{tmp_path / 'letters'}",
        images=Images(size=16, channels=1),
        backbone=Backbone(width=4),
        meta=Meta(steps=2, batch=1, way=2, query=2, validate_every=2),
        graph=Graph(steps=2, batch=1, ways=(2,), shots=(1,), query=2, validate_every=2),
        evaluate=Evaluate(ways=(3,), shots=(1,), query=3, episodes=10),
    )
    configs.write(config, tmp_path / "tiny.yaml")
    out = tmp_path / "run"
    command = ["train", "--config", str(tmp_path / "tiny.yaml"), "--out", str(out)]
    assert cli.main([*command, "--logger", "csv,wandb,tensorboard"]) == 0
    (run,) = (out / "wandb").glob("offline-run-*")
    found = records(run)
    assert len(history(found, "meta/val_accuracy")) == 2
    assert len(list(run.glob("files/media/table/*.json"))) == 1
    pictures = {path.stem for path in (out / "pictures").glob("*.png")}
    assert {path.name.rsplit("_", 2)[0] for path in run.glob("files/media/images/*.png")} == pictures
    assert "class-graph" in pictures
    (artifact,) = (a for a in found["artifact"] if a.type == "model")
    assert Path(artifact.manifest.contents[0].local_path).read_bytes() == (out / "checkpoint.pt").read_bytes()
    assert (out / "csv" / "results.csv").is_file()
    assert len(list((out / "tensorboard").glob("events.*"))) == 1


class Broken(types.ModuleType):
    """A wandb of which one thing fails."""

    def __init__(self, what):
        super().__init__("wandb")
        self.__spec__ = importlib.machinery.ModuleSpec("wandb", None, origin="here")
        self.starting_step, self.id = 0, "abc"
        for name in ("init", "log", "finish", "define_metric", "log_artifact", "Table", "Image", "Artifact"):
            setattr(self, name, self.fail if name == what else lambda *_, **__: self)
        self.add_file = self.log_artifact

    def fail(self, *_, **__):
        raise ConnectionError("no\nnetwork")


@pytest.mark.parametrize("what", ["init", "define_metric", "log", "Table", "log_artifact", "finish"])
def test_a_failing_wandb_is_left_out_with_one_line_and_the_others_go_on(tmp_path, monkeypatch, capsys, what):
    monkeypatch.setitem(sys.modules, "wandb", Broken(what))
    together = Loggers(["wandb", "csv"], tmp_path, Config())
    for row in ROWS:
        together.pass_on(row, row["step"])
    finish(together, tmp_path)
    together.close()
    assert capsys.readouterr().err == "warning: logger wandb is left out: no network\n"
    assert len((tmp_path / "csv" / "metrics.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize("name", ["wandb", "tensorboard"])
def test_one_that_is_not_installed_is_left_out(tmp_path, monkeypatch, capsys, name):
    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda name: None)
    Loggers([name], tmp_path, Config()).pass_on(ROWS[0], 1)
    line = f"warning: logger {name} is left out: it is not installed (pip install {name})\n"
    assert capsys.readouterr().err == line


def test_unknown_ones_are_named():
    with pytest.raises(InputError, match="logger: expected some of csv, tensorboard, wandb, got 'mlflow'"):
        loggers.check_names(["csv", "mlflow"])


def test_a_sweep_of_wandb_names_the_run(tmp_path, monkeypatch):
    broken = Broken("nothing")
    broken.init = lambda **options: broken.__dict__.update(options=options) or broken
    monkeypatch.setitem(sys.modules, "wandb", broken)
    monkeypatch.setenv("WANDB_RUN_ID", "sweep123")
    monkeypatch.setenv("WANDB_MODE", "online")
    Loggers(["wandb"], tmp_path, Config())
    assert (broken.options["id"], broken.options["resume"]) == ("sweep123", "allow")
    assert not (tmp_path / "wandb" / "id").exists()


def test_rows_that_the_service_already_has_are_not_sent_again(tmp_path, monkeypatch):
    broken, sent = Broken("nothing"), []
    broken.starting_step, broken.log = 2, lambda numbers, step: sent.append(step)
    monkeypatch.setitem(sys.modules, "wandb", broken)
    together = Loggers(["wandb"], tmp_path, Config())
    for row in ROWS:
        together.pass_on(row, row["step"])
    assert sent == [2]


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
