"""Loggers in addition to ``metrics.jsonl``: CSV, TensorBoard, Weights & Biases.

Each writes to a folder of its own name within that of the run.
"""

from __future__ import annotations

import importlib.util
import netrc
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlparse

from fewshot.core.errors import InputError
from fewshot.core.files import replacing, tell, write_csv
from fewshot.core.untrusted.plain import read_plain
from fewshot.training.config import Config, to_dict

Rows = Sequence[Mapping[str, Any]]


class Logger(Protocol):
    """What a logger does; `Loggers` handles its errors."""

    def log_numbers(self, numbers: Mapping[str, float], step: int) -> None:
        """Receive the numbers of a step; steps come in order."""

    def finish(self, results: Rows, pictures: Mapping[str, Path], checkpoint: Path) -> None:
        """Receive what training ends with, as far as the logger has a place for it."""

    def close(self) -> None:
        """Write out what is left."""


class Loggers:
    """Several loggers as one. One that fails is left out, with a line on standard error; training continues.

    Args:
        names: any of ``csv``, ``tensorboard``, ``wandb``.
        folder: of the run.
        config: of the run.

    Raises:
        InputError: an unknown name.
    """

    def __init__(self, names: Sequence[str], folder: Path, config: Config) -> None:
        check_names(names)
        self._loggers: dict[str, Logger] = {}
        for name in names:
            if made := self._guard(name, LOGGERS[name], folder, config):
                self._loggers[name] = made

    def pass_on(self, row: Mapping[str, Any], step: int) -> None:
        """Pass on the numbers of a row, each named ``stage/key``, at a step counted over all stages."""
        numbers = {
            f"{row['stage']}/{key}": value
            for key, value in row.items()
            if isinstance(value, (int, float)) and key != "step"
        }
        for name, logger in list(self._loggers.items()):
            self._guard(name, logger.log_numbers, numbers, step)

    def finish(self, results: Rows, pictures: Mapping[str, Path], checkpoint: Path) -> None:
        """Pass on what training ends with: rows of the final table, PNG files by name, the checkpoint."""
        for name, logger in list(self._loggers.items()):
            self._guard(name, logger.finish, results, pictures, checkpoint)

    def close(self) -> None:
        """Write out what is left."""
        for name, logger in list(self._loggers.items()):
            self._guard(name, logger.close)

    def _guard(self, name: str, action: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return action(*arguments)
        except Exception as error:  # a service that is down must not end hours of training
            self._loggers.pop(name, None)
            tell(f"warning: logger {name} is left out: {' '.join(str(error).split())}")


def check_names(names: Sequence[str]) -> None:
    """Raise an `InputError` for the unknown name of a logger.

    >>> check_names(["csv"])
    """
    for name in names:
        if name not in LOGGERS:
            raise InputError(f"logger: expected some of {', '.join(LOGGERS)}, got {name!r}")


class Csv:
    """``csv/metrics.csv`` and ``csv/results.csv``."""

    def __init__(self, folder: Path, config: Config) -> None:
        from lightning.fabric.loggers import CSVLogger

        self._folder = folder / "csv"
        (self._folder / "metrics.csv").unlink(missing_ok=True)  # a resumed run logs its earlier rows again
        self._logger = CSVLogger(folder, name="", version="csv", flush_logs_every_n_steps=1)

    def log_numbers(self, numbers: Mapping[str, float], step: int) -> None:
        self._logger.log_metrics(dict(numbers), step)

    def finish(self, results: Rows, pictures: Mapping[str, Path], checkpoint: Path) -> None:
        write_csv(self._folder / "results.csv", [list(results[0]), *(list(row.values()) for row in results)])

    def close(self) -> None:
        self._logger.finalize("success")


class TensorBoard:
    """Curves, the final table as text, and pictures, for ``tensorboard --logdir FOLDER``."""

    def __init__(self, folder: Path, config: Config) -> None:
        _require("tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        for earlier in (folder / "tensorboard").glob("events.*"):  # its rows are logged again
            earlier.unlink()
        self._writer = SummaryWriter(str(folder / "tensorboard"))

    def log_numbers(self, numbers: Mapping[str, float], step: int) -> None:
        for key, value in numbers.items():
            self._writer.add_scalar(key, value, step)

    def finish(self, results: Rows, pictures: Mapping[str, Path], checkpoint: Path) -> None:
        import numpy as np
        from PIL import Image

        names = list(results[0])
        lines = [names, ["---"] * len(names), *(list(row.values()) for row in results)]
        self._writer.add_text("results", "\n".join(f"|{'|'.join(map(str, line))}|" for line in lines))
        for name, path in pictures.items():
            self._writer.add_image(name, np.asarray(Image.open(path).convert("RGB")), dataformats="HWC")

    def close(self) -> None:
        self._writer.close()


class Wandb:
    """One run of Weights & Biases, which a resumed training continues.

    Online if the user is signed in, else offline: then ``wandb/`` in the run's folder holds everything, and
    ``wandb sync`` uploads it, as long as the folder is not moved; a resumed training logs all rows again,
    into a new folder, and keeps the one before in ``wandb/before-resumption``. ``WANDB_MODE`` overrides this;
    the other variables of wandb (``WANDB_PROJECT``, ``WANDB_NAME``, …) apply too.
    """

    def __init__(self, folder: Path, config: Config) -> None:
        _require("wandb")
        import wandb

        self._wandb, self._folder = wandb, folder / "wandb"
        mode = os.environ.get("WANDB_MODE") or ("online" if _signed_in_to_wandb() else "offline")
        number = os.environ.get("WANDB_RUN_ID") or self._number()
        if mode == "offline":
            self._keep_earlier(number)
        options: dict[str, Any] = {
            "project": os.environ.get("WANDB_PROJECT", "fewshot"),
            "name": os.environ.get("WANDB_NAME", config.name),
            "mode": mode,
            "id": number,
            "resume": "allow" if mode == "online" else None,
        }
        self._run = wandb.init(dir=str(folder), config=to_dict(config), **options)
        for stage in ("pretrain", "meta", "graph"):  # the weights with the highest one are kept
            self._run.define_metric(f"{stage}/val_accuracy", summary="max")

    def log_numbers(self, numbers: Mapping[str, float], step: int) -> None:
        if step >= self._run.starting_step:  # else the service has the row from before the stop
            self._run.log(dict(numbers), step=step)

    def finish(self, results: Rows, pictures: Mapping[str, Path], checkpoint: Path) -> None:
        with _staged_in(self._folder):
            rows = [list(row.values()) for row in results]
            content = {"results": self._wandb.Table(columns=list(results[0]), data=rows)}
            self._run.log(content | {name: self._wandb.Image(str(path)) for name, path in pictures.items()})
            artifact = self._wandb.Artifact(f"checkpoint-{self._run.id}", type="model")
            artifact.add_file(str(checkpoint))
            self._run.log_artifact(artifact)

    def close(self) -> None:
        self._run.finish()  # otherwise a later run of this process would be logged in this one

    def _keep_earlier(self, number: str) -> None:
        """Move what was logged before a resumption aside: its rows are logged again, into a new folder."""
        for earlier in sorted(self._folder.glob(f"offline-run-*-{number}")):
            place = self._folder / "before-resumption" / earlier.name
            place.parent.mkdir(exist_ok=True)
            shutil.move(earlier, place)
            tell(f"wandb: the new folder has all rows; what was logged before is kept in {place}")

    def _number(self) -> str:
        """The run's id, kept in its folder."""
        file = self._folder / "id"
        if not file.is_file():
            with replacing(file) as temporary:
                temporary.write_text(secrets.token_hex(4))
        return read_plain(file, 100).decode("ascii", "replace")


@contextmanager
def _staged_in(folder: Path) -> Iterator[None]:
    """Have wandb keep the files that it is yet to upload here, not in the user's home."""
    if "WANDB_DATA_DIR" in os.environ:
        yield
        return
    os.environ["WANDB_DATA_DIR"] = str(folder)
    try:
        yield
    finally:
        del os.environ["WANDB_DATA_DIR"]


def _require(package: str) -> None:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:  # nothing, or just a folder of that name
        raise InputError(f"it is not installed (pip install {package})")


def _signed_in_to_wandb() -> bool:
    """Whether there is a key, in the environment or from ``wandb login``; without asking anybody."""
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return bool(os.environ.get("WANDB_API_KEY") or netrc.netrc().authenticators(host))
    except (OSError, netrc.NetrcParseError):  # no such file, or not a valid one
        return False


LOGGERS: dict[str, Callable[[Path, Config], Logger]] = {
    "csv": Csv,
    "tensorboard": TensorBoard,
    "wandb": Wandb,
}
