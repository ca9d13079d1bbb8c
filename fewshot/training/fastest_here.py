"""What a run chooses by speed: the first process decides for all, and a resumed run keeps what it had."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

from lightning.fabric import Fabric
from torch import nn

from fewshot.model.backbones.compiled import compiling_pays
from fewshot.model.precision import Precision, resolve
from fewshot.training import config as configs
from fewshot.training.config import Config
from fewshot.training.processes import on_first

T = TypeVar("T")


def precision_of(config: Config, path: Path, resume: bool, fabric: Fabric) -> Precision:
    """The precision of a run, which is kept in its config and checkpoint, so that both compute alike."""

    def decided() -> Precision:
        if config.precision != "auto":
            return config.precision
        earlier = _earlier(path, resume)
        return earlier.precision if earlier else resolve("auto", fabric.device)

    return _by_first(fabric, decided)


def compiles(config: Config, backbone: nn.Module, path: Path, resume: bool, fabric: Fabric) -> bool:
    """Whether a run compiles its backbone, which is kept in its config."""

    def decided() -> bool:
        if config.compile != "auto":
            return config.compile
        earlier = _earlier(path, resume)
        if earlier or not (config.pretrain or config.meta):  # then no backbone is trained
            return earlier is not None and earlier.compile is True
        return compiling_pays(backbone, fabric.device, config.precision)

    return _by_first(fabric, decided)


def _earlier(path: Path, resume: bool) -> Config | None:
    """The config of the run that is resumed, whose choices it keeps."""
    file = path / "config.yaml"
    return configs.read(file) if resume and file.is_file() else None


def _by_first(fabric: Fabric, decided: Callable[[], T]) -> T:
    """What the first process decides, for all."""
    return cast(T, fabric.broadcast(on_first(fabric, decided)))
