"""Training: pretrain, meta-train and graph stage one after the other, then the test classes, once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments import TorchElasticEnvironment
from lightning.fabric.strategies import DDPStrategy
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from fewshot import backbones, stages
from fewshot.compiled import compile_backbone
from fewshot.config import Config, to_dict
from fewshot.data import load
from fewshot.data.labelled import FeatureSet, LabelledSet
from fewshot.data.packed import PackedDataset, Splits
from fewshot.episodes import EpisodeSampler
from fewshot.errors import InputError
from fewshot.evaluation import Predict, Scores, as_predict, evaluate
from fewshot.graph import ClassGraph
from fewshot.loggers import Loggers
from fewshot.loggers import check as check_loggers
from fewshot.loop import Stage, fit
from fewshot.methods.prototypes import prototypes
from fewshot.model import GraphFewShot, Preprocess
from fewshot.outside import Outside, own_input
from fewshot.precision import autocast
from fewshot.recorder import RunRecorder
from fewshot.runs import RunFolder
from fewshot.stages import MODES
from fewshot.transfer import resident

T = TypeVar("T")
VAL_EPISODES = 300
VAL_IMAGES = 4000  # about as many images of the validation split are encoded at each validation


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
    fabric = _fabric(devices)
    fabric.launch()

    def opened() -> Splits:
        return load(config.data, size=_image_size(config), channels=config.images.channels)

    splits = _on_first(fabric, opened) or opened()  # the first process packs, the others find the pack
    workers = _workers(fabric)
    check(config, splits, workers)
    model = build(config, splits)
    if config.compile:
        compile_backbone(model.backbone, fabric.device)
    path = Path(out or Path("runs") / config.name)
    folder = _on_first(fabric, lambda: RunFolder(path, config, resume))
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


def _image_size(config: Config) -> int | None:
    """The side that the data are packed at: as asked for, else the backbone's own where it has one."""
    name = config.backbone.name
    return config.images.size or (own_input(name)["size"] if backbones.is_outside(name) else None)


def _fabric(devices: str | int) -> Fabric:
    """Fabric for so many devices of this machine, or for the processes that torchrun has started."""
    if devices != "auto" and not (str(devices).isdigit() and int(devices) > 0):
        raise InputError(f"devices: expected auto or a number from 1 up, got {devices!r}")
    nodes = 1
    if TorchElasticEnvironment.detect():
        here, everywhere = (int(os.environ[key]) for key in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
        if devices not in ("auto", here, str(here)):
            raise InputError(f"devices: expected auto or {here} (torchrun's processes), got {devices}")
        devices, nodes = here, everywhere // here
    several = nodes > 1 or (torch.cuda.device_count() if devices == "auto" else int(devices)) > 1
    # Not every loss asks all of the graph's scalars, which several processes must be told.
    strategy = DDPStrategy(find_unused_parameters=True) if several else "auto"
    try:
        # Only the backbone computes in bfloat16: Fabric's own mixed precision would round its inputs too.
        number = "auto" if devices == "auto" else int(devices)
        return Fabric(devices=number, num_nodes=nodes, strategy=strategy, precision="32-true")
    except (MisconfigurationException, ValueError) as error:
        raise InputError(f"devices: {' '.join(str(error).split())}") from error


def _on_first(fabric: Fabric, work: Callable[[], T]) -> T | None:
    """What some work gives on the first process, None on the others; its InputError is raised on all."""
    result, problem = None, ""
    if fabric.is_global_zero:
        try:
            result = work()
        except InputError as error:
            problem = str(error)
    if problem := fabric.broadcast(problem):
        raise InputError(problem)
    return result


def _workers(fabric: Fabric) -> stages.Workers:
    def mean(x: Tensor) -> Tensor:
        every = cast(Tensor, fabric.all_gather(x, sync_grads=True))  # [processes, ...]
        return every.mean(0)

    alone = fabric.world_size == 1
    return stages.ALONE if alone else stages.Workers(fabric.global_rank, fabric.world_size, mean)


def check(config: Config, splits: Splits, workers: stages.Workers = stages.ALONE) -> None:
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
        _checked("validation (val split)", lambda: _validation_samplers(config, splits.val))
    _checked("evaluate (test split)", lambda: _test_samplers(config, splits.test))


def _checked(place: str, make: Callable[[], Any]) -> None:
    try:
        make()
    except InputError as error:
        raise InputError(f"{place}: {error}") from error


def build(config: Config, splits: Splits) -> GraphFewShot:
    """The model before training: random weights (the graph's too) but for a backbone's given ones.

    Raises:
        InputError: an unknown backbone, images or weights that do not fit it.
    """
    arguments = config.backbone.arguments()
    if not backbones.is_outside(config.backbone.name):
        arguments["in_channels"] = config.images.channels or splits.train.channels
    with _seeded(config, 0):
        backbone = backbones.build(arguments)
        graph = ClassGraph()
    if config.weights is not None:
        load_weights(backbone, config.weights)
    size = config.images.size or splits.train.size
    if size < 16:
        raise InputError(f"images.size: expected at least 16, got {size}, the side of the data's images")
    if isinstance(backbone, Outside):
        backbone.out_features(size)  # says it, if that size is none for it
        preprocess = Preprocess(**{**backbone.input, "size": size})
    else:
        preprocess = _standardised(size, arguments["in_channels"], splits.train)
    return GraphFewShot(
        backbone, graph, preprocess=preprocess, mirror=config.mirror, precision=config.precision
    )


def _standardised(size: int, channels: int, data: PackedDataset) -> Preprocess:
    """Images of that form with mean 0 and standard deviation 1 in each channel."""
    values = Preprocess(size, channels, mean=(0.0,), std=(1.0,))(_spread(data, 4096).items)
    mean, std = values.mean((0, 2, 3)), values.std((0, 2, 3)).clamp(min=1e-2)
    return Preprocess(
        size, channels, [round(v, 4) for v in mean.tolist()], [round(v, 4) for v in std.tolist()]
    )


def load_weights(backbone: nn.Module, path: str | Path) -> None:
    """Give a backbone the weights of a state dict file, all of them.

    Raises:
        InputError: no such file, none of torch, or keys that are missing, unknown or of another shape.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"weights: expected a file, got {path}, which is none") from error
    except Exception as error:  # torch, zipfile and pickle each raise their own for a broken file
        raise InputError(f"weights: {path} is not a state dict that torch can read") from error
    if not isinstance(state, dict):
        raise InputError(f"weights: expected a state dict in {path}, got {type(state).__name__}")
    ours = backbone.state_dict()
    wrong = {
        "missing": [key for key in ours if key not in state],
        "unknown": [key for key in state if key not in ours],
        "of another shape": [k for k in ours if k in state and ours[k].shape != state[k].shape],
    }
    if any(wrong.values()):
        reason = "; ".join(f"{kind}: {', '.join(keys)}" for kind, keys in wrong.items() if keys)
        raise InputError(f"weights: {path} does not fit the backbone; {reason}")
    backbone.load_state_dict(state)


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
            with _seeded(config, names.index(name) + 1):
                current = stage(name, config, splits, model, features, _workers(fabric))
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
    workers: stages.Workers = stages.ALONE,
) -> Stage:
    """The stage of that name ("pretrain", "meta" or "graph"), judged on the validation classes.

    The graph's needs the features of the base classes, transformed.
    """
    if name == "graph":
        assert features is not None
        validate = _validate_graph(config, model, splits.val)
        return stages.graph(config, model, features, validate, workers)
    joint = name == "meta" and config.meta is not None and config.meta.method == "class-graph"
    validate = _validate_images(config, model, splits, ["inductive", "joint"] if joint else [])
    make = stages.meta if name == "meta" else stages.pretrain
    return make(config, model, splits.train, validate, workers)


def _base_features(model: GraphFewShot, data: LabelledSet) -> FeatureSet:
    """Set the model's base mean to that of the base classes; the features of these, minus it."""
    model.base_mean = model.base_mean.new_zeros(0)
    features = model.features(data)
    mean = features.mean()
    model.base_mean = mean.to(model.base_mean.device)
    features.items.sub_(mean)
    return features


def _fit_transform(config: Config, model: GraphFewShot, data: LabelledSet) -> FeatureSet:
    """Set what the model knows of the base classes; their features, as the graph takes them.

    A backbone that was meta-trained was so for cosines of its features as they are.
    """
    features = _base_features(model, data)
    if config.meta is None:
        model.transform.fit_if_skewed(features.items)
    here = model.base_mean.device
    return replace(features, items=model.transform(features.items.to(here)))


def _calibrate(model: GraphFewShot, base: LabelledSet) -> None:
    """Take the statistics of batch norm anew, from base images as they are.

    Those that training gathers are of augmented images and of weights that have moved on since (Wu and
    Johnson, 2021, Rethinking "Batch" in BatchNorm). The loop keeps them with the weights it finds best.
    """
    here = model.base_mean.device
    order = torch.randperm(len(base), generator=torch.Generator().manual_seed(0))
    batches = (model.preprocess(base.items[index].to(here)) for index in order.split(256))
    with autocast(here, model.precision):
        update_bn(batches, model.backbone)


def _validate_images(
    config: Config, model: GraphFewShot, splits: Splits, graph_modes: list[str]
) -> stages.Validate:
    """Scores on features of validation images: of prototypes, or of the graph in some modes."""
    base, val = _spread(splits.train, VAL_IMAGES), _first_of_each(splits.val, VAL_IMAGES)

    def validate() -> dict[str, float]:
        _calibrate(model, base)
        _base_features(model, base)
        features = model.features(val)
        model.base_mean = model.base_mean.new_zeros(0)
        scores = {}
        for sampler in _validation_samplers(config, features):
            methods = [_graph_predict(model, mode) for mode in graph_modes] or [as_predict(prototypes)]
            found = [_accuracy(predict, sampler) for predict in methods]
            scores[f"val_{sampler.shot}-shot"] = sum(found) / len(found)
        return {"val_accuracy": sum(scores.values()) / len(scores), **scores}

    return validate


def _validate_graph(config: Config, model: GraphFewShot, val: PackedDataset) -> stages.Validate:
    """Scores of the graph on validation features, which stay the same: each mode under all conditions."""
    assert config.graph is not None
    features = model.features(_first_of_each(val, VAL_IMAGES))
    conditions = product(config.graph.queries, config.graph.noise)
    samplers = [s for condition in conditions for s in _validation_samplers(config, features, *condition)]
    samplers = samplers or _validation_samplers(config, features)  # too few images for noise

    def validate() -> dict[str, float]:
        scores = {}
        for mode in MODES:
            found = [_accuracy(_graph_predict(model, mode), sampler) for sampler in samplers]
            scores[f"val_{mode}"] = sum(found) / len(found)
        return {"val_accuracy": sum(scores.values()) / len(scores), **scores}

    return validate


def _graph_predict(model: GraphFewShot, mode: str) -> Predict:
    joint, known = MODES[mode]
    return as_predict(model.classify, joint=joint, know_proportions=known)


def _accuracy(predict: Predict, sampler: EpisodeSampler) -> float:
    return evaluate(predict, sampler, method="validation", mode="").accuracy


def _validation_samplers(
    config: Config, data: LabelledSet, queries: str = "balanced", noise: float = 0.0
) -> list[EpisodeSampler]:
    """A fixed set of 5-way episodes, 1-shot and 5-shot, as far as the classes and their images go."""
    least = int(data.counts.min()) if data.num_classes else 0
    if data.num_classes < 2 or least < 2:
        raise InputError(
            f"expected at least 2 classes of at least 2 images, got {data.num_classes} classes, the smallest "
            f"of {least}"
        )
    way, seed = min(5, data.num_classes), stages.seed(config.seed, 4)
    return [
        EpisodeSampler(
            data, way, shot, min(15, least - shot), 64, VAL_EPISODES, seed, queries=queries, label_noise=noise
        )
        for shot in (1, 5)
        if least > shot and (noise == 0 or round(noise * shot) > 0)
    ]


def _test_samplers(
    config: Config, data: LabelledSet, workers: stages.Workers = stages.ALONE
) -> list[EpisodeSampler]:
    options = config.evaluate
    return [
        EpisodeSampler(
            data,
            way,
            shot,
            options.query,
            episodes=options.episodes,
            seed=options.seed,
            rank=workers.rank,
            world=workers.world,
        )
        for way in options.ways
        for shot in options.shots
    ]


def score(
    config: Config, model: GraphFewShot, data: PackedDataset, fabric: Fabric | None = None
) -> list[Scores]:
    """The scores of each way and shot of ``config.evaluate``: prototypes, and a graph that was trained.

    The processes of a fabric share the episodes out; each has the scores of all of them.
    """
    features = model.features(data)
    methods = [("prototypes", "inductive", as_predict(prototypes))]
    if _trains_graph(config):
        methods += [("class-graph", mode, _graph_predict(model, mode)) for mode in MODES]

    def gather(own: Any) -> list[Any]:
        return [fabric.broadcast(own, rank) for rank in range(fabric.world_size)] if fabric else [own]

    return [
        evaluate(predict, sampler, method=method, mode=mode, gather=gather)
        for sampler in _test_samplers(config, features, _workers(fabric) if fabric else stages.ALONE)
        for method, mode, predict in methods
    ]


def _trains_graph(config: Config) -> bool:
    return config.graph is not None or (config.meta is not None and config.meta.method == "class-graph")


def _finish(
    config: Config,
    splits: Splits,
    model: GraphFewShot,
    folder: RunFolder,
    recorder: RunRecorder,
    scores: list[Scores],
) -> None:
    """Write checkpoint, results, report and pictures, and hand them to the loggers."""
    from fewshot.example import draw_example
    from fewshot.report import write_report  # matplotlib, which takes a while to import

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
        example=draw_example(model, splits.test) if _trains_graph(config) else None,
    )
    recorder.finish(results, pictures, checkpoint)
    folder.finish()


def _first_of_each(data: PackedDataset, images: int) -> LabelledSet:
    """The first images of each class, about so many in all, but 20 a class where it has them."""
    each = max(20, images // max(data.num_classes, 1))
    counts = data.counts
    place = torch.arange(len(data)) - (counts.cumsum(0) - counts)[data.labels]  # of an image in its class
    return _taken(data, (place < each).nonzero().flatten())


def _spread(data: PackedDataset, images: int) -> LabelledSet:
    """About so many images at equal distances, whatever their classes."""
    return _taken(data, torch.arange(0, len(data), max(1, len(data) // images)))


def _taken(data: PackedDataset, index: Tensor) -> LabelledSet:
    return LabelledSet(data.items[index], data.labels[index], data.class_names)


@contextmanager
def _seeded(config: Config, number: int) -> Iterator[None]:
    """Start torch's own generator from the config's seed; afterwards it is as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stages.seed(config.seed, 5, number))
        yield
