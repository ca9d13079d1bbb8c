"""A training run: the stages one after the other, then the test classes, once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import nn

from fewshot.core.errors import InputError
from fewshot.core.files import check_writable
from fewshot.core.untrusted.guard import reading
from fewshot.core.untrusted.tensors import check_state, field
from fewshot.data.loading import load
from fewshot.data.packed import PackedDataset, Splits
from fewshot.model.backbones.compiled import compile_backbone
from fewshot.model.checkpoint import known_content, known_from
from fewshot.model.few_shot import GraphFewShot
from fewshot.training.build import build, image_size
from fewshot.training.config import Config
from fewshot.training.fastest_here import compiles, precision_of
from fewshot.training.loggers import Loggers, check_names
from fewshot.training.outcome import write_outcome
from fewshot.training.plan import planned, train_stages
from fewshot.training.probabilities import calibrate
from fewshot.training.processes import launch, on_first, workers_of
from fewshot.training.recorder import RunRecorder
from fewshot.training.run_folder import RunFolder, named

STATE: dict[str, type | tuple[type, ...]] = {  # what a saved state holds, and optionally known classes
    **{"data": str, "model": dict, "stage": str},
    **{"fit": (dict, type(None)), "seconds": (int, float)},
}


def train(
    config: Config,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    devices: str | int = "auto",
    loggers: Sequence[str] = ("csv",),
    save_every: float = 30.0,
) -> Path:
    """Train and score a model by a config; the same config gives the same figures on the same machine.

    Args:
        config: what to train.
        out: folder of the run; default ``runs/NAME``. It ends with ``config.yaml``, ``metrics.jsonl``,
            ``results.json``, ``checkpoint.pt``, ``report.html`` and ``pictures/``. An earlier run in it is
            moved to ``NAME.1``, ``NAME.2``, …
        resume: continue the run in the folder, to the figures that it would have had without a stop.
        devices: how many, or "auto" (default): all GPUs, or the one CPU; under torchrun, those that it uses.
        loggers: any of ``csv``, ``tensorboard``, ``wandb``, in addition to ``metrics.jsonl``; default
            ``csv``. A logger that fails, or is not installed, is left out, with a line on standard error.
        save_every: seconds between the states from which a run can be resumed; default 30.

    Returns:
        The run's folder.

    Raises:
        InputError: a config that the data cannot serve, an unknown logger, or something else in the folder.
        KeyboardInterrupt: on SIGINT, with the state saved.
    """
    check_names(loggers)
    path = named(out or Path("runs") / config.name)
    check_writable(path)
    fabric = launch(devices)
    splits = _loaded(config, fabric)
    here = replace(splits, train=resident(splits.train, fabric.device))
    workers = workers_of(fabric)
    plan = planned(config, here, workers)
    config = replace(config, precision=precision_of(config, path, resume, fabric))
    model = build(config, splits)
    config = replace(config, compile=compiles(config, model.backbone, path, resume, fabric))
    if config.compile:
        compile_backbone(model.backbone, fabric.device)
    folder = on_first(fabric, lambda: RunFolder(path, config, resume))
    try:
        if fabric.broadcast(folder is not None and folder.finished):
            return path
        saved = _saved_state(folder, fabric)
        if saved and saved["data"] != splits.hash:
            raise InputError(f"data: expected the data that the run in {path} began with, got {config.data}")
        _place(model, fabric, saved)
        recorder = RunRecorder(
            folder,
            Loggers(loggers, path, config) if folder else None,
            lambda: {"data": splits.hash, "model": model.state_dict(), "known": known_content(model.known)},
            saved["seconds"] if saved else 0.0,
        )
        # Otherwise cuDNN chooses its algorithms by speed, other ones each time.
        with closing(recorder), torch.backends.cudnn.flags(enabled=True, deterministic=True):
            train_stages(plan, model, fabric, recorder, saved, save_every)
            calibrate(model.eval(), splits.val, config.seed, workers)
            scores = plan.final.scores(model)
            if folder is not None:
                write_outcome(config, splits, model, plan.final, scores, folder, recorder)
        fabric.barrier()
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command with --resume continues from here") from None
    finally:
        if folder is not None:
            folder.close()
    return path


def _loaded(config: Config, fabric: Fabric) -> Splits:
    """The data set; the first process packs it, and the others open the pack."""

    def opened() -> Splits:
        return load(config.data, size=image_size(config), channels=config.images.channels)

    return on_first(fabric, opened) or opened()


def _saved_state(folder: RunFolder | None, fabric: Fabric) -> dict[str, Any] | None:
    """The state from which the run is resumed, on all processes; None at its start."""
    return fabric.broadcast(_checked(folder.read_state(), folder.path) if folder else None)


def _checked(state: dict[str, Any] | None, folder: Path) -> dict[str, Any] | None:
    """A saved state, if it has the fields that are needed; they are used as they are."""
    if state is not None:
        path = folder / "state.pt"
        for name, kind in STATE.items():
            field(state, name, kind, path)
        check_state(state["model"], path, "model")
    return state


def _place(model: GraphFewShot, fabric: Fabric, saved: dict[str, Any] | None) -> None:
    """Move a model to its device, with the weights and known classes of a saved state."""
    model.to(fabric.device)
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        model.backbone = nn.SyncBatchNorm.convert_sync_batchnorm(model.backbone)
    if saved:
        with reading("state.pt", "weights of this model"):
            model.load_state_dict(saved["model"])
        model.known = known_from(saved.get("known"), "state.pt")


def resident(data: PackedDataset, device: torch.device) -> PackedDataset:
    """The set with its images on a GPU, if they take at most half of the memory that is free there."""
    if device.type != "cuda" or 2 * data.items.nbytes > torch.cuda.mem_get_info(device)[0]:
        return data
    return replace(data, items=data.items.to(device), path=None)
