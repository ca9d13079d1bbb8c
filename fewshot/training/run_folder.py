"""The folder of a training run: its files, its lock, and the state from which it is resumed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from fewshot.core.errors import InputError
from fewshot.core.files import sweep, write_json, write_tensors, writing
from fewshot.core.untrusted.documents import parse_json
from fewshot.core.untrusted.guard import brief, reading
from fewshot.core.untrusted.plain import read_plain
from fewshot.core.untrusted.tensors import field, read_tensors
from fewshot.training import config as configs
from fewshot.training.config import Config

LARGEST_METRICS = 2**30  # bytes

try:
    import fcntl
except ImportError:  # not on Windows, where two runs in one folder go unnoticed
    fcntl = None  # type: ignore[assignment]


class RunFolder:
    """A run's folder, ready to be written to.

    An earlier run in it is moved to ``NAME.1``, ``NAME.2``, …, unless it is resumed. A run is finished when
    it has results and no state to resume from.

    Args:
        folder: its path; created if it does not exist.
        config: of the run.
        resume: continue the run in the folder, if there is one.

    Raises:
        InputError: the folder holds something other than a run, the run to be resumed has another config, or
            another process is writing to the folder.
    """

    def __init__(self, folder: str | Path, config: Config, resume: bool = False) -> None:
        self.path = named(folder)
        self._stream: IO[bytes] | None = None
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"out: expected a folder, got the file {self.path}")
        if _visible(self.path) and not (self.path / "config.yaml").is_file():
            raise InputError(
                f"out: expected an empty folder or one of a run, got {self.path} with other files"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self.path)
        for folder in (self.path, *(path for path in self.path.iterdir() if path.is_dir())):
            sweep(folder)
        if _visible(self.path):
            if resume:
                self._check_same(config)
            else:
                _move_away(self.path)
                self.path.mkdir()
                self._lock = _lock(self.path)
        elif resume:
            print(f"there is no run in {self.path} to resume; a new one begins", file=sys.stderr)
        if not (self.path / "config.yaml").is_file():
            configs.write(config, self.path / "config.yaml")

    @property
    def finished(self) -> bool:
        """Whether the run is complete."""
        return (self.path / "results.json").is_file() and not (self.path / "state.pt").is_file()

    def read_state(self) -> dict[str, Any] | None:
        """What `write_state` wrote last, with later rows of metrics removed; None at the start of a run."""
        if not (self.path / "state.pt").is_file():
            self._truncate_metrics(0)
            return None
        path = self.path / "state.pt"
        state = read_tensors(path, "the state of a run, from which to resume")
        if not isinstance(state, dict):
            raise InputError(f"{path}: expected the state of a run, got {brief(state)}")
        self._truncate_metrics(max(0, field(state, "metrics", int, path)))
        return state

    def write_state(self, state: Mapping[str, Any]) -> None:
        """Save what is needed to resume: plain values and tensors, and the length of the metrics."""
        write_tensors(self.path / "state.pt", {**state, "metrics": self._metrics_size()})

    def append(self, row: Mapping[str, Any]) -> None:
        """Append a row to ``metrics.jsonl``."""
        with writing(self.path / "metrics.jsonl"):
            if self._stream is None:
                self._stream = (self.path / "metrics.jsonl").open("ab")
            self._stream.write(json.dumps(row).encode() + b"\n")
            self._stream.flush()

    def metrics(self) -> list[dict[str, Any]]:
        """All rows of ``metrics.jsonl``, without a last line that is incomplete."""
        path = self.path / "metrics.jsonl"
        text = read_plain(path, LARGEST_METRICS) if path.is_file() else b""
        with reading(path, "the metrics of a run"):
            rows = [parse_json(line) for line in text.splitlines(keepends=True) if line.endswith(b"\n")]
            if not all(isinstance(row, dict) for row in rows):
                raise ValueError("rows that are not keys and values")
            return rows

    def write_results(self, results: Sequence[Mapping[str, Any]]) -> None:
        """Write ``results.json``, one row per method, mode, way and shot."""
        write_json(self.path / "results.json", list(results))

    def finish(self) -> None:
        """Mark the run as finished: there is nothing left to resume."""
        (self.path / "metrics.jsonl").touch()  # a run without stages has no rows
        (self.path / "state.pt").unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Close the files, and release the folder to other processes."""
        for stream in (self._stream, self._lock):
            if stream is not None:
                stream.close()
        self._stream = self._lock = None

    def _check_same(self, config: Config) -> None:
        earlier = configs.read(self.path / "config.yaml")
        if changes := configs.differences(config, earlier):
            raise InputError(
                f"resume: expected the config of the run in {self.path}, got {'; '.join(changes)} "
                "(without --resume a new run starts, and that one is kept)"
            )

    def _metrics_size(self) -> int:
        path = self.path / "metrics.jsonl"
        return path.stat().st_size if path.is_file() else 0

    def _truncate_metrics(self, size: int) -> None:
        if self._metrics_size() > size:
            os.truncate(self.path / "metrics.jsonl", size)


def named(folder: str | Path) -> Path:
    """A folder's path; if it has no name of its own, such as ``.``, as an absolute one.

    >>> named("runs/glyphs").as_posix(), named(".") == Path.cwd()
    ('runs/glyphs', True)
    """
    path = Path(folder)
    return path if path.name not in ("", "..") else Path(os.path.abspath(path))


def _visible(folder: Path) -> list[str]:
    """The names in a folder, except for the hidden lock and hidden files that a kill left incomplete."""
    return [p.name for p in folder.iterdir() if not p.name.startswith(".")] if folder.is_dir() else []


def _lock(folder: Path) -> IO[bytes] | None:
    """Lock the folder against other runs until the file is closed, at the latest when this process ends."""
    if fcntl is None:
        return None
    stream = (folder / ".lock").open("wb")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        stream.close()
        raise InputError(f"out: {folder} belongs to a run that is still active") from error
    return stream


def _move_away(folder: Path) -> Path:
    """Rename a folder to the first of ``NAME.1``, ``NAME.2``, … that is free."""
    number = 1
    while (target := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    return folder.rename(target)
