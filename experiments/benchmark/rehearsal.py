"""A rehearsal of a training at the size of miniImageNet, on generated images: 100 classes of 600 at 84×84.

    python experiments/benchmark/rehearsal.py [--device cuda]

writes the images as JPEG files in miniImageNet's layout into a temporary folder, and measures what
``fewshot train --config miniimagenet-resnet12`` does with them: packing, opening the pack, training steps of
the stage `pretrain`, features, and 10,000 test episodes. The time of an epoch follows from that of some steps
(on a GPU: of a whole epoch by default). Accuracies mean nothing here; times do not depend on the pictures.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from lines import Line
from materials import generated_features, generated_images
from measure import Limits, Times, memory, peak_memory, race
from PIL import Image
from stages import ROOT, conclude, parser, staged

from fewshot.core.loop import fit
from fewshot.data.loading import load
from fewshot.data.packed import PackedDataset, Splits
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.scores import as_predict, evaluate
from fewshot.graph.class_graph import ClassGraph
from fewshot.methods.prototypes import prototypes
from fewshot.methods.shared.fitting import Silent
from fewshot.training.build import build
from fewshot.training.config import Config, read
from fewshot.training.plan import planned
from fewshot.training.run import resident

CONFIG = ROOT / "configs" / "miniimagenet-resnet12.yaml"
SPLITS = {"train": 64, "val": 16, "test": 20}
SIZE = 84
BATCH = 100  # test episodes at a time


def write_source(folder: Path, count: int) -> None:
    """Images and class lists in miniImageNet's layout, some classes at a time."""
    (folder / "images").mkdir(parents=True)

    def save(pair: tuple[str, torch.Tensor]) -> None:
        Image.fromarray(pair[1].permute(1, 2, 0).numpy()).save(folder / "images" / pair[0])

    number = 0
    with ThreadPoolExecutor() as pool:
        for split, classes in SPLITS.items():
            lines = ["filename,label"]
            for _ in range(classes):
                images = generated_images(1, count, SIZE, seed=number).items
                names = [f"c{number:03}{image:05}.jpg" for image in range(count)]
                list(pool.map(save, zip(names, images, strict=True)))
                lines += [f"{name},c{number:03}" for name in names]
                number += 1
            (folder / f"{split}.csv").write_text("\n".join(lines) + "\n")


def timed(work: Callable[[], Any]) -> tuple[Any, Times]:
    start = time.perf_counter()
    result = work()
    return result, Times.of([time.perf_counter() - start])


def packing(room: Path, count: int) -> tuple[Splits, list[Line]]:
    """The pack of the images; lines with its time and memory, and with those of opening it."""
    spec, cache = f"miniimagenet:{room / 'source'}", room / "cache"
    found: list[Times] = []
    taken = peak_memory(lambda: found.append(timed(lambda: load(spec, cache=cache, progress=False))[1]))
    images = sum(SPLITS.values()) * count
    splits, again = timed(lambda: load(spec, cache=cache, progress=False))
    return splits, [
        Line("packing, per image", "", found[0], per=images, figures={"peak_bytes": taken}),
        Line("opening the pack", "", again),
    ]


def pretraining(config: Config, splits: Splits, options: argparse.Namespace) -> Line:
    """Seconds per epoch of the stage `pretrain`, from some of its steps, without validation."""
    assert config.pretrain is not None
    device = torch.device(options.device)
    model = build(config, splits).to(device)
    data = resident(splits.train, device)
    on_gpu = device.type == "cuda"
    epoch = len(data) // config.pretrain.batch
    steps = options.steps or (epoch if on_gpu else 4)
    stage = planned(config, replace(splits, train=data)).image_stages[0].begin(model)
    nothing = {"validate": lambda: {"val_accuracy": 0.0}, "calibrated": nullcontext}
    short = replace(stage, steps=steps, validate_every=steps, **nothing)
    fabric = Fabric(accelerator=device.type, devices=1)
    finish = torch.cuda.synchronize if on_gpu else lambda: None
    times = race({"": lambda: fit(short, fabric, Silent())}, options.repetitions, finish=finish)[""]
    whole = Times.of([seconds * epoch / steps for seconds in times.all])
    images = epoch * config.pretrain.batch
    peak = torch.cuda.max_memory_allocated() if on_gpu else memory().peak
    figures = {"images_a_second": images / whole.median, "peak_bytes": peak, "steps_timed": steps}
    return Line("pretraining, one epoch", "", whole, unit="s", figures=figures)


def extraction(config: Config, splits: Splits, options: argparse.Namespace) -> Line:
    """Features per second of test images."""
    data = splits.test
    count = len(data) if options.device == "cuda" else min(len(data), 256)
    some = PackedDataset(data.items[:count], data.labels[:count], data.class_names)
    model = build(config, splits).to(options.device).eval()
    times = race({"": lambda: model.features(some)}, options.repetitions)[""]
    return Line(
        "features, per image", "", times, per=count, figures={"images_a_second": count / times.median}
    )


def episodes(count: int, options: argparse.Namespace) -> list[Line]:
    """10,000 test episodes on features of the test classes, 5-way 1-shot, by prototypes and class graph."""
    data = generated_features(SPLITS["test"], count, 1, size=512)
    sampler = EpisodeSampler(data, way=5, shot=1, query=15, episodes=options.episodes, batch=BATCH)
    graph = ClassGraph.pretrained()
    predictors = {
        "prototypes": as_predict(prototypes),
        "class graph": as_predict(graph),
        "class graph, joint": as_predict(graph, joint=True),
    }
    lines = []
    for name, predict in predictors.items():
        _, times = timed(lambda predict=predict, name=name: evaluate(predict, sampler, method=name))
        lines.append(Line(f"{options.episodes:,} test episodes, {name}", "", times, unit="s"))
    return lines


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--count", type=int, default=600, help="images per class")
    options.add_argument("--episodes", type=int, default=10_000)
    options.add_argument("--steps", type=int, help="of training; default 4, on a GPU an epoch")
    options.add_argument("--repetitions", type=int, default=3)
    options.add_argument("--device", default="cpu", help="cpu or cuda")
    arguments = options.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        room = Path(folder)
        write_source(room / "source", arguments.count)
        splits, lines = packing(room, arguments.count)
        config = read(CONFIG)
        lines += [pretraining(config, splits, arguments), extraction(config, splits, arguments)]
    lines += episodes(arguments.count, arguments)
    limits = Limits.measured(arguments.device)
    stage = staged("rehearsal", arguments.device)
    conclude(stage, lines, arguments, extra=("images_a_second",), limits=limits)


if __name__ == "__main__":
    main()
