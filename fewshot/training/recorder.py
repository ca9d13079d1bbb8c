"""The recorder of a run: metrics, loggers, progress on the terminal, and states to resume from."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fewshot.core.loop import Stage
from fewshot.core.untrusted.guard import reading
from fewshot.training.loggers import Loggers, Rows
from fewshot.training.run_folder import RunFolder


class RunRecorder:
    """A `fewshot.core.loop.Recorder` that writes to a run's folder and shows progress on standard error.

    Args:
        folder: of the run; None in all processes except the first, which record nothing.
        loggers: receive the rows of ``metrics.jsonl`` too, in a resumed run from the first one on.
        snapshot: what a saved state holds in addition to that of the stage.
        seconds: the time that the run took before it was resumed.
    """

    def __init__(
        self,
        folder: RunFolder | None,
        loggers: Loggers | None,
        snapshot: Callable[[], dict[str, Any]],
        seconds: float = 0.0,
    ) -> None:
        self.folder, self.loggers, self.snapshot = folder, loggers, snapshot
        self.display = Display() if folder is not None else None
        self._begin = time.monotonic() - seconds
        self._stage, self._step, self._before = "", 0, 0
        if folder is not None:
            with reading(folder.path / "metrics.jsonl", "the metrics of a run"):
                for row in folder.metrics():
                    self._pass_on(row)

    def log(self, row: dict[str, Any]) -> None:
        """Append a row to the metrics, with the run's seconds, and pass it on to the loggers."""
        if self.folder is not None and self.display is not None:
            row = {**row, "seconds": round(self._seconds, 2)}
            self.folder.append(row)
            self._pass_on(row)
            self.display.row(row)

    def progress(self, stage: Stage, step: int) -> None:
        """Show how many steps of a stage are done."""
        if self.display is not None:
            self.display.step(stage, step)

    def save(self, stage: str, state: dict[str, Any] | None) -> None:
        """Save the state of the run; None: the stage is about to start."""
        if self.folder is not None:
            self.folder.write_state(
                {"stage": stage, "fit": state, "seconds": self._seconds, **self.snapshot()}
            )

    def finish(self, results: Rows, pictures: Mapping[str, Path], checkpoint: Path) -> None:
        """Pass on to the loggers what training ends with: final table, PNG files by name, checkpoint."""
        if self.loggers is not None:
            self.loggers.finish(results, pictures, checkpoint)

    def close(self) -> None:
        """End the progress and the loggers."""
        if self.display is not None:
            self.display.close()
        if self.loggers is not None:
            self.loggers.close()

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._begin

    def _pass_on(self, row: Mapping[str, Any]) -> None:
        if row["stage"] != self._stage:  # loggers count steps over all stages
            self._stage, self._before = row["stage"], self._before + self._step
        self._step = row["step"]
        if self.loggers is not None:
            self.loggers.pass_on(row, self._before + self._step)


class Display:
    """Progress on standard error: a bar on a terminal, elsewhere a line per validation."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            columns = "[bold]{task.description}", BarColumn(), MofNCompleteColumn(), "{task.fields[now]}"
            self._bar = Progress(
                *columns, TextColumn("left"), TimeRemainingColumn(), console=Console(stderr=True)
            )
            self._bar.start()
        self._task: TaskID | None = None
        self._stage: Stage | None = None
        self._first, self._begin, self._rate = 0, 0.0, ""
        self._last: dict[str, Any] = {}

    def step(self, stage: Stage, step: int) -> None:
        """Move the bar to a step."""
        now = time.monotonic()
        if stage is not self._stage:
            self._stage, self._first, self._begin, self._rate = stage, step, now, ""
            if self._bar is not None:
                self._task = self._bar.add_task(stage.name, total=stage.steps, now="")
        amount, unit = stage.rate
        if now > self._begin:
            self._rate = f"{amount * (step - self._first) / (now - self._begin):.0f} {unit}/s"
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=step, now=self._now())

    def row(self, row: Mapping[str, Any]) -> None:
        """Show the numbers of a row of metrics."""
        if row["stage"] != self._last.get("stage"):
            self._last = {"stage": row["stage"]}
        self._last |= {key: row[key] for key in ("loss", "accuracy", "val_accuracy") if key in row}
        if self._bar is None and "val_accuracy" in row:
            scores = ", ".join(
                f"{key.removeprefix('val_').replace('_', ' ')} {value:.1f}"
                for key, value in row.items()
                if key.startswith("val_")
            )
            rate = f"{self._rate}, " if self._rate else ""
            loss = f"loss {self._last['loss']:.3f}, {rate}" if "loss" in self._last else ""
            self.say(f"{row['stage']} step {row['step']}: {loss}validation {scores} ({row['seconds']:.0f} s)")

    def say(self, text: str) -> None:
        """Print a line."""
        if self._bar is not None:
            self._bar.console.print(text)
        else:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Stop the bar, which stays visible."""
        if self._bar is not None:
            self._bar.stop()

    def _now(self) -> str:
        words = {"loss": "loss {:.3f}", "accuracy": "accuracy {:.1f}", "val_accuracy": "validation {:.1f}"}
        return "  ".join([*(words[k].format(v) for k, v in self._last.items() if k in words), self._rate])
