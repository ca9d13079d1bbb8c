"""The plan of a run, with all stages and samplers made before anything starts, and its execution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import dropwhile
from typing import Any

from lightning.fabric import Fabric

from fewshot.core.loop import fit
from fewshot.data.augment import Augment
from fewshot.data.labelled import LabelledSet
from fewshot.data.packed import PackedDataset, Splits, evenly_spaced, first_of_each
from fewshot.model.few_shot import GraphFewShot
from fewshot.training.base_classes import BaseClasses
from fewshot.training.config import Config
from fewshot.training.final import FinalEvaluation, final_evaluation
from fewshot.training.processes import ALONE, Workers
from fewshot.training.recorder import RunRecorder
from fewshot.training.samplers import located
from fewshot.training.stages import Training
from fewshot.training.stages.graph import GraphTraining
from fewshot.training.stages.meta import MetaTraining
from fewshot.training.stages.pretrain import Pretraining
from fewshot.training.validation import VAL_IMAGES, ImageValidation, validation_samplers

TRAINED = "evaluate"  # the name, in a saved state, of what follows the last stage


@dataclass(frozen=True)
class Plan:
    """What a run does, in order: train the backbone, fit to the base classes, train the graph, evaluate."""

    image_stages: list[Training]
    base: BaseClasses
    graph: GraphTraining | None
    final: FinalEvaluation

    @property
    def stages(self) -> list[Training]:
        """All stages in their order."""
        return [*self.image_stages, *([self.graph] if self.graph else [])]


def planned(config: Config, splits: Splits, workers: Workers = ALONE) -> Plan:
    """The plan of a run on a data set. Draws nothing.

    Raises:
        InputError: names the stage, and the way, shot or queries that the classes cannot serve, or the batch
            that the processes cannot share.
    """
    base = BaseClasses(splits.train, transform=config.meta is None, workers=workers)
    image_stages: list[Training] = []
    graph = None
    if config.pretrain or config.meta or config.graph:
        val = first_of_each(splits.val, VAL_IMAGES)
        if config.pretrain or config.meta:
            image_stages = _image_stages(config, splits.train, val, workers)
        if config.graph:
            graph = GraphTraining(config.graph, base, val, run_seed=config.seed, workers=workers)
    return Plan(image_stages, base, graph, final_evaluation(config, splits.test, workers))


def _image_stages(config: Config, train: PackedDataset, val: LabelledSet, workers: Workers) -> list[Training]:
    """The stages that train the backbone."""
    with located("validation (val split)"):
        samplers = validation_samplers(val, config.seed, workers)
    validation = ImageValidation(evenly_spaced(train, VAL_IMAGES), val, samplers, workers)
    shared: dict[str, Any] = {
        "augment": Augment(**asdict(config.augment)),
        "run_seed": config.seed,
        "workers": workers,
    }
    stages: list[Training] = []
    if config.pretrain:
        stages.append(Pretraining(config.pretrain, train, validation, **shared))
    if config.meta:
        stages.append(MetaTraining(config.meta, train, validation, **shared))
    return stages


def train_stages(
    plan: Plan,
    model: GraphFewShot,
    fabric: Fabric,
    recorder: RunRecorder,
    saved: Mapping[str, Any] | None = None,
    save_every: float = 30.0,
) -> None:
    """Train a model in all stages that are left; it ends ready for the final evaluation.

    Args:
        plan: what to do.
        model: of the saved state, or untrained.
        fabric: device and processes.
        recorder: receives metrics, progress and states.
        saved: the last state that the recorder saved; default None: start with the first stage.
        save_every: seconds between saved states; default 30.
    """
    left = _left(plan.stages, saved)
    state = saved["fit"] if saved else None  # of the first stage that is left
    for stage in left:
        current = stage.begin(model)
        if state is None:
            recorder.save(stage.name, None)
        kind = (current.device or fabric.device).type
        on = fabric if kind == fabric.device.type else Fabric(accelerator=kind, devices=1)
        fit(current, on, recorder, state, save_every)
        model.to(fabric.device)
        state = None
    if left or saved is None:
        if plan.graph is None:  # which would have done it
            plan.base.learn(model)
        recorder.save(TRAINED, None)


def _left(stages: list[Training], saved: Mapping[str, Any] | None) -> list[Training]:
    """The stages from that of a saved state on: all without one, none once the model is trained."""
    return stages if saved is None else list(dropwhile(lambda stage: stage.name != saved["stage"], stages))
