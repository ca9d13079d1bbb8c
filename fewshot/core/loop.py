"""The one training loop: every stage of a training run goes through it, and every method that learns."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, Protocol, cast, runtime_checkable

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from fewshot.core.errors import InputError
from fewshot.core.memory import kept
from fewshot.core.untrusted.guard import reading

Batch = tuple[Any, ...]


@dataclass(frozen=True)
class Stage:
    """A part of training: what is trained, on which batches, and how the best weights are chosen.

    Args:
        name: of the stage, for metrics, progress and errors.
        module: called with the entries of a batch, returns its loss and its accuracy (scalars).
        batches: from the number of a step to the batches from that step on, on the device. The batch of a
            step is the same wherever the iteration starts.
        steps: the number of steps.
        optimizer: of the module's parameters; its ``lr`` is the highest of a one-cycle schedule.
        warmup: share of the steps before the highest learning rate.
        validate: scores on the validation classes; the weights with the highest ``"val_accuracy"`` are kept.
        validate_every: steps between two validations.
        rate: what one step processes, for the progress: (480, "images").
        device: where the module trains, on this process alone; default None: where the others do.
        calibrated: a context in which the module is validated, and copied if it is the best so far. Inside,
            the module may differ, such as by batch norm's statistics of clean images; afterwards it is as it
            was. Default: as it is.
    """

    name: str
    module: nn.Module
    batches: Callable[[int], Iterator[Batch]]
    steps: int
    optimizer: Optimizer
    warmup: float
    validate: Callable[[], dict[str, float]]
    validate_every: int
    rate: tuple[int, str]
    device: torch.device | None = None
    calibrated: Callable[[], AbstractContextManager[object]] = nullcontext


@runtime_checkable
class Recorder(Protocol):
    """Receives what the loop has to report: rows of metrics, progress, and states to resume from."""

    def log(self, row: dict[str, Any]) -> None:
        """Receive a row of metrics: stage, step, and numbers."""

    def progress(self, stage: Stage, step: int) -> None:
        """Receive the number of steps that are done."""

    def save(self, stage: str, state: dict[str, Any]) -> None:
        """Receive the state of a stage."""


def fit(
    stage: Stage,
    fabric: Fabric,
    recorder: Recorder,
    state: dict[str, Any] | None = None,
    save_every: float = 30.0,
) -> None:
    """Train a stage's module, which ends with the weights that were best on the validation classes.

    Training that is resumed from a saved state ends with the same weights as training without a stop.

    Args:
        stage: what to train, and on what.
        fabric: device and processes.
        recorder: receives metrics, progress and states.
        state: what an earlier `fit` of the same stage saved; default None: start it.
        save_every: seconds between saved states; default 30.

    Raises:
        InputError: the loss is not finite, or validation fails after the first step.
        KeyboardInterrupt: on the first SIGINT, after the step is done and its state saved; with several
            processes on a SIGINT to the first one, after the next step that logs.
    """
    module, optimizer = fabric.setup(stage.module.to(fabric.device), stage.optimizer)
    schedule = OneCycleLR(
        stage.optimizer,
        max_lr=[group["lr"] for group in stage.optimizer.param_groups],
        total_steps=max(stage.steps, 2),  # the cycle is not defined for a single step
        pct_start=min(max(stage.warmup, 1e-6), 1 - 1e-6),
        cycle_momentum=False,
    )
    # Sums of loss, accuracy and steps since the last row of metrics.
    since = torch.zeros(3, dtype=torch.float64, device=fabric.device)
    if state is None:
        start, best = 0, _validated(stage, 0, fabric, recorder, None)
    else:
        with reading("state.pt", f"the state of the stage {stage.name}"):
            stage.module.load_state_dict(state["module"])
            stage.optimizer.load_state_dict(state["optimizer"])
            schedule.load_state_dict(state["schedule"])
            start, best = int(state["step"]), state["best"]
            since += state["since"].to(fabric.device)

    def current(step: int) -> dict[str, Any]:
        return {
            "step": step,
            "module": stage.module.state_dict(),
            "optimizer": stage.optimizer.state_dict(),
            "schedule": schedule.state_dict(),
            "best": best,
            "since": since.cpu(),
        }

    log_every = max(1, stage.steps // 100)
    saved = time.monotonic()
    batches = stage.batches(start)
    with _Interrupt() as interrupt, kept():
        for step in range(start + 1, stage.steps + 1):
            module.train()
            loss, accuracy = module(*next(batches))
            stage.optimizer.zero_grad()
            fabric.backward(loss)
            optimizer.step()
            rate = stage.optimizer.param_groups[0]["lr"]
            if step < stage.steps:
                schedule.step()
            since += torch.stack([loss.detach(), accuracy, torch.ones_like(loss)]).detach()
            recorder.progress(stage, step)
            logs = step % log_every == 0 or step == stage.steps
            if logs:
                _log(stage, step, cast(Tensor, fabric.all_reduce(since)), rate, recorder)
                since.zero_()
            if step % stage.validate_every == 0 or step == stage.steps:
                best = _validated(stage, step, fabric, recorder, best)
            # All processes must stop at the same step, or one would wait for the others forever.
            asked = interrupt.asked if fabric.world_size == 1 else logs and fabric.broadcast(interrupt.asked)
            if asked:
                recorder.save(stage.name, current(step))
                raise KeyboardInterrupt
            # The sums differ between processes, except where they have just been reset.
            if time.monotonic() - saved > save_every and (logs or fabric.world_size == 1):
                recorder.save(stage.name, current(step))
                saved = time.monotonic()
    stage.module.load_state_dict(best["module"])


def _validated(
    stage: Stage, step: int, fabric: Fabric, recorder: Recorder, best: dict[str, Any] | None
) -> dict[str, Any]:
    """The better of the best so far and the current weights: its step, score and weights."""
    with stage.calibrated():
        try:
            found = stage.validate()
        except InputError as error:
            if step == 0:
                raise
            raise InputError(f"{stage.name}.lr: by step {step}, {error}; a lower one may help") from error
        scores = fabric.broadcast(found)  # every process keeps what the first one keeps
        recorder.log({"stage": stage.name, "step": step, **scores})
        if best is not None and scores["val_accuracy"] <= best["score"]:
            return best
        weights = {key: value.detach().cpu().clone() for key, value in stage.module.state_dict().items()}
    return {"step": step, "score": scores["val_accuracy"], "module": weights}


def _log(stage: Stage, step: int, since: Tensor, lr: float, recorder: Recorder) -> None:
    loss, accuracy = (since[:2] / since[2]).tolist()
    if not math.isfinite(loss):
        raise InputError(f"{stage.name}.lr: the loss became {loss} by step {step}; a lower one may help")
    recorder.log({"stage": stage.name, "step": step, "loss": loss, "accuracy": 100 * accuracy, "lr": lr})


class _Interrupt:
    """Turns the first SIGINT into a request that is granted between two steps; a second one acts at once."""

    asked = False

    def __enter__(self) -> _Interrupt:
        # Python allows signal handlers in the main thread only; elsewhere SIGINT keeps its meaning.
        self._main = threading.current_thread() is threading.main_thread()
        if self._main:
            self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._main:
            signal.signal(signal.SIGINT, self._before)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
