"""Loggers beside ``metrics.jsonl``: CSV, TensorBoard and Weights & Biases, through Lightning's."""

from __future__ import annotations

import importlib.util
import netrc
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from fewshot.config import Config, to_dict
from fewshot.errors import InputError


class Loggers:
    """Several loggers as one. One that fails says so once and is left out; training goes on.

    Args:
        names: of ``csv``, ``tensorboard``, ``wandb``.
        folder: of the run; each logger writes in a folder of its own name there.
        config: of the run.

    Raises:
        InputError: an unknown name, or a logger whose package is not installed.
    """

    def __init__(self, names: Sequence[str], folder: Path, config: Config) -> None:
        check(names)
        self._loggers: dict[str, Any] = {}
        for name in names:
            if made := self._guard(name, _MAKE[name], folder, config):
                self._loggers[name] = made

    def log(self, row: Mapping[str, Any], step: int) -> None:
        """Pass on the numbers of a row, each named ``stage/key``, at a step counted over all stages."""
        numbers = {
            f"{row['stage']}/{key}": value
            for key, value in row.items()
            if isinstance(value, (int, float)) and key != "step"
        }
        for name, logger in list(self._loggers.items()):
            self._guard(name, logger.log_metrics, numbers, step)

    def close(self) -> None:
        """Write out what is left."""
        for name, logger in list(self._loggers.items()):
            self._guard(name, logger.finalize, "success")
            if name == "wandb":  # else a later run of this process would go on in this one
                self._guard(name, logger.experiment.finish)

    def _guard(self, name: str, action: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return action(*arguments)
        except Exception as error:  # a service that is down must not end hours of training
            self._loggers.pop(name, None)
            warnings.warn(f"logger {name} is left out: {' '.join(str(error).split())}", stacklevel=3)


def check(names: Sequence[str]) -> None:
    """Raise an InputError for a name that is unknown, or whose package is not installed.

    >>> check(["csv"])
    """
    for name in names:
        if name not in _MAKE:
            raise InputError(f"logger: expected some of {', '.join(_MAKE)}, got {name!r}")
        if name != "csv" and importlib.util.find_spec(name) is None:
            raise InputError(f"logger: {name} is not installed (pip install 'fewshot[{name}]')")


def _csv(folder: Path, config: Config) -> Any:
    from lightning.fabric.loggers import CSVLogger

    (folder / "csv" / "metrics.csv").unlink(missing_ok=True)  # a resumed run logs its earlier rows again
    return CSVLogger(folder, name="", version="csv", flush_logs_every_n_steps=1)


def _tensorboard(folder: Path, config: Config) -> Any:
    from lightning.fabric.loggers import TensorBoardLogger

    return TensorBoardLogger(folder, name="", version="tensorboard")


def _wandb(folder: Path, config: Config) -> Any:
    from lightning.pytorch.loggers import WandbLogger

    mode = os.environ.get("WANDB_MODE") or ("online" if _signed_in_to_wandb() else "offline")
    options: dict[str, Any] = {
        "project": "fewshot",
        "name": config.name,
        "mode": mode,
        "config": to_dict(config),
    }
    logger = WandbLogger(save_dir=folder, **options)
    _ = logger.experiment  # starts it here, where a failure is told
    return logger


def _signed_in_to_wandb() -> bool:
    """Whether there is a key, given or kept by ``wandb login``; asks neither the user nor the network."""
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return bool(os.environ.get("WANDB_API_KEY") or netrc.netrc().authenticators(host))
    except (OSError, netrc.NetrcParseError):  # no such file, or one that is not for machines
        return False


_MAKE: dict[str, Callable[[Path, Config], Any]] = {"csv": _csv, "tensorboard": _tensorboard, "wandb": _wandb}
