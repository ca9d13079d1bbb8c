"""Training: pretrain, meta-train and graph stage one after the other, then the test classes, once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import nn

from fewshot.core.errors import InputError
from fewshot.core.loop import Stage, fit
from fewshot.core.seeds import seeded
from fewshot.data.labelled import FeatureSet, LabelledSet
from fewshot.data.loading import load
from fewshot.data.packed import PackedDataset, Splits
from fewshot.evaluation.scores import Scores
from fewshot.model.backbones.compiled import compile_backbone
from fewshot.model.few_shot import GraphFewShot
from fewshot.training import stages
from fewshot.training.build import build, image_size
from fewshot.training.config import Config, to_dict
from fewshot.training.loggers import Loggers
from fewshot.training.loggers import check as check_loggers
from fewshot.training.processes import ALONE, Workers, launch, on_first, workers_of
from fewshot.training.recorder import RunRecorder
from fewshot.training.run_folder import RunFolder
from fewshot.training.validation import (
    base_features,
    final_samplers,
    score,
    trains_graph,
    validate_graph,
    validate_images,
    validation_samplers,
)


def train(
    config: Config,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    devices: str | int = "auto",
    loggers: Sequence[str] = ("csv",),
    save_every: float = 30.0,
) -> Path:
    """Train and score a model as a config says; the same config gives the same figures on the same machine.

    Args:
        config: what to train.
        out: folder of the run; default ``runs/NAME``. It ends with ``config.yaml``, ``metrics.jsonl``,
            ``results.json``, ``checkpoint.pt``, ``report.html`` and ``pictures/``. A run that stands there is
            moved to ``NAME.1``, ``NAME.2``, …
        resume: go on with the run that stands there, to the figures it would have had without a stop.
        devices: how many, or "auto" (default): all GPUs, or the one CPU; what torchrun has started.
        loggers: of ``csv``, ``tensorboard``, ``wandb``, beside ``metrics.jsonl``; default ``csv``. One that
            fails, or is not installed, is left out, with a line on standard error.
        save_every: seconds between the states that a resumed run goes on from; default 30.

    Returns:
        The run's folder.

    Raises:
        InputError: a config that the data cannot serve, an unknown logger, or another run in the folder.
        KeyboardInterrupt: on SIGINT, with the state saved.
    """
    check_loggers(loggers)
    fabric = launch(devices)

    def opened() -> Splits:
        return load(config.data, size=image_size(config), channels=config.images.channels)

    splits = on_first(fabric, opened) or opened()  # the first process packs, the others find the pack
    workers = workers_of(fabric)
    check(config, splits, workers)
    model = build(config, splits)
    if config.compile:
        compile_backbone(model.backbone, fabric.device)
    path = Path(out or Path("runs") / config.name)
    folder = on_first(fabric, lambda: RunFolder(path, config, resume))
    if fabric.broadcast(folder is not None and folder.finished):
        return path
    try:
        # cuDNN picks its algorithms by speed otherwise, another one each time.
        with torch.backends.cudnn.flags(deterministic=True, benchmark=False):
            _run(config, splits, model, fabric, folder, loggers, save_every)
    finally:
        if folder is not None:
            folder.close()
    return path


def check(config: Config, splits: Splits, workers: Workers = ALONE) -> None:
    """Draw nothing, but make every sampler of the run, so that what does not fit is told at the start.

    Raises:
        InputError: names the stage, and the way, shot or queries that the classes cannot serve, or the batch
            that the processes cannot share.
    """
    options = config.pretrain
    if options and len(splits.train) < options.batch:
        raise InputError(
            f"pretrain.batch: expected at most {len(splits.train)} (images), got {options.batch}"
        )
    if options:
        workers.share("pretrain.batch", options.batch)
    if config.meta:
        _checked("meta (train split)", lambda: stages.meta_samplers(config, splits.train, 0, workers))
    if config.graph:
        _checked("graph (train split)", lambda: stages.graph_samplers(config, splits.train, None, workers))
    if config.pretrain or config.meta or config.graph:
        _checked("validation (val split)", lambda: validation_samplers(config, splits.val))
    _checked("evaluate (test split)", lambda: final_samplers(config, splits.test))


def _checked(place: str, make: Callable[[], Any]) -> None:
    try:
        make()
    except InputError as error:
        raise InputError(f"{place}: {error}") from error


def _run(
    config: Config,
    splits: Splits,
    model: GraphFewShot,
    fabric: Fabric,
    folder: RunFolder | None,
    loggers: Sequence[str],
    save_every: float,
) -> None:
    """All stages from where the folder's state is, then the test classes."""
    model.to(fabric.device)
    splits = replace(splits, train=resident(splits.train, fabric.device))
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        model.backbone = nn.SyncBatchNorm.convert_sync_batchnorm(model.backbone)
    state = fabric.broadcast(folder.read_state() if folder else None) or {}
    if state and state["data"] != splits.hash:
        raise InputError(f"data: {config.data} is not what the run in {folder and folder.path} began with")
    if state:
        model.load_state_dict(state["model"])
    recorder = RunRecorder(
        folder,
        Loggers(loggers, folder.path, config) if folder else None,
        lambda: {"data": splits.hash, "model": model.state_dict()},
        state.get("seconds", 0.0),
    )
    names = [name for name in ("pretrain", "meta", "graph") if getattr(config, name)]
    first = state.get("stage", names[0] if names else "evaluate")
    try:
        features = None
        for name in names[names.index(first) :] if first in names else []:
            if name == "graph":
                features = _fit_transform(config, model, splits.train)
            with seeded(stages.seed(config.seed, 5, names.index(name) + 1)):
                current = stage(name, config, splits, model, features, workers_of(fabric))
            going_on = state.get("fit") if name == first else None
            if going_on is None:
                recorder.save(name, None)
            fit(current, fabric, recorder, going_on, save_every)
        if not state or first != "evaluate":
            if features is None:
                _fit_transform(config, model, splits.train)
            recorder.save("evaluate", None)
        model.eval()
        scores = score(config, model, splits.test, fabric)
        if folder is not None:
            _finish(config, splits, model, folder, recorder, scores)
    except KeyboardInterrupt:
        print("interrupted; the same command with --resume goes on from here", file=sys.stderr)
        raise
    finally:
        recorder.close()
    fabric.barrier()


def stage(
    name: str,
    config: Config,
    splits: Splits,
    model: GraphFewShot,
    features: FeatureSet | None = None,
    workers: Workers = ALONE,
) -> Stage:
    """The stage of that name ("pretrain", "meta" or "graph"), judged on the validation classes.

    The graph's needs the features of the base classes, transformed.
    """
    if name == "graph":
        assert features is not None
        validate = validate_graph(config, model, splits.val)
        return stages.graph(config, model, features, validate, workers)
    joint = name == "meta" and config.meta is not None and config.meta.method == "class-graph"
    validate = validate_images(config, model, splits, ["inductive", "joint"] if joint else [])
    make = stages.meta if name == "meta" else stages.pretrain
    return make(config, model, splits.train, validate, workers)


def _fit_transform(config: Config, model: GraphFewShot, data: LabelledSet) -> FeatureSet:
    """Set what the model knows of the base classes; their features, as the graph takes them.

    A backbone that was meta-trained was so for cosines of its features as they are.
    """
    features = base_features(model, data)
    if config.meta is None:
        model.transform.fit_if_skewed(features.items)
    here = model.base_mean.device
    return replace(features, items=model.transform(features.items.to(here)))


def _finish(
    config: Config,
    splits: Splits,
    model: GraphFewShot,
    folder: RunFolder,
    recorder: RunRecorder,
    scores: list[Scores],
) -> None:
    """Write checkpoint, results, report and pictures, and hand them to the loggers."""
    from fewshot.report.example import draw_example
    from fewshot.report.run_report import write_report  # matplotlib, which takes a while to import

    checkpoint = folder.path / "checkpoint.pt"
    model.save(checkpoint, {"config": to_dict(config), "data": splits.hash})
    setting = {"split": "test", "query": config.evaluate.query, "seed": config.evaluate.seed}
    results = [{**s.row(), **setting} for s in scores]
    folder.write_results(results)
    pictures = write_report(
        folder.path,
        config=to_dict(config),
        metrics=folder.metrics(),
        scores=scores,
        splits=splits,
        example=draw_example(model, splits.test) if trains_graph(config) else None,
    )
    recorder.finish(results, pictures, checkpoint)
    folder.finish()


def resident(data: PackedDataset, device: torch.device) -> PackedDataset:
    """The set with its images on a GPU, where they take at most half of the memory that is free there."""
    if device.type != "cuda" or 2 * data.items.nbytes > torch.cuda.mem_get_info(device)[0]:
        return data
    return replace(data, items=data.items.to(device), path=None)
