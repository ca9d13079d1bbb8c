"""Training conv4 of width 64 on episodes, 5-way 5-shot with 15 queries per class, at 84×84 and at 32×32.

Ours is the stage `meta` of `fewshot train` in its own loop: uint8 images in memory, bfloat16 if the machine
has it, channels-last, AdamW, no augmentation; eager, and with `compile: true`, whose seconds at the start are
in the table. Against learn2learn's ProtoNet loop: a task of its `Taskset` over float32 images in memory that
are already normalised, its `CNN4Backbone`, squared distances to the means of the supports, Adam, with
PyTorch's defaults. Both train on one episode per step; ours takes more steps in a repetition, since the first
step of a run takes its memory from the system.

The limit is the convolutions alone, forward and backward, at the speed of a square matrix product.
"""

import argparse
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from tempfile import TemporaryDirectory
from unittest.mock import patch

import torch
from lightning.fabric import Fabric
from lines import Line
from materials import images
from measure import Floor, Limits, race
from sampling import learn2learn_tasks
from stages import conclude, parser, staged
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from fewshot import backbones
from fewshot.core.loop import fit
from fewshot.data.augment import Augment
from fewshot.data.packed import PackedDataset
from fewshot.graph.class_graph import ClassGraph
from fewshot.methods.shared.fitting import Silent
from fewshot.model.backbones.compiled import compile_backbone
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.precision import resolve
from fewshot.model.preprocess import Preprocess
from fewshot.training.config import Meta
from fewshot.training.stages.meta import MetaTraining
from fewshot.training.validation import ImageValidation

WAY, SHOT, QUERY = 5, 5, 15
TARGETS = {
    "32-true": {84: 3.5, 32: 2.5},
    "bf16-mixed": {84: 6.0, 32: 4.0},
}
ON_GPU = 10.0


def ours(
    data: PackedDataset, size: int, options: argparse.Namespace, compiled: bool = False
) -> Callable[[], None]:
    """So many steps of the stage `meta`, each time from the weights of the previous run."""
    meta = Meta(steps=options.steps, batch=options.batch, way=WAY, shot=SHOT, query=QUERY, lr=1e-3)
    device = torch.device(options.device)
    model = GraphFewShot(backbones.conv4(), ClassGraph(), preprocess=Preprocess(size, 3)).to(device)
    if compiled:
        compile_backbone(model.backbone, device)
    off = Augment(crop=0, flip=False, brightness=0.0, noise=0.0)
    training = MetaTraining(meta, data, ImageValidation(data, data, ()), augment=off, run_seed=0)
    stage = replace(
        training.begin(model), validate=lambda: {"val_accuracy": 0.0}, calibrated=nullcontext
    )  # without validation
    fabric = Fabric(accelerator=device.type, devices=1)
    return lambda: fit(stage, fabric, Silent())


def theirs(data: PackedDataset, options: argparse.Namespace) -> Callable[[], None]:
    """`their_steps` steps of learn2learn's loop."""
    from learn2learn.vision.models import CNN4Backbone

    device = torch.device(options.device)
    model = CNN4Backbone(hidden_size=64, channels=3, max_pool=True).to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    stream = learn2learn_tasks(data.images.float() / 127.5 - 1, data, SHOT + QUERY)
    is_support = (torch.arange(WAY * (SHOT + QUERY)) % (SHOT + QUERY) < SHOT).to(device)

    def step() -> float:
        items, labels = next(stream)
        order = labels.sort().indices
        items, labels = items[order].to(device), labels[order].to(device)
        features = model(items)
        means = features[is_support].view(WAY, SHOT, -1).mean(1)
        distances = (features[~is_support].unsqueeze(1) - means.unsqueeze(0)).square().sum(2)
        loss = cross_entropy(-distances, labels[~is_support])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    def run() -> None:
        for _ in range(options.their_steps):
            step()

    return run


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--sizes", type=int, nargs="+", default=[84, 32])
    options.add_argument("--steps", type=int, default=40, help="of ours in a repetition")
    options.add_argument("--their-steps", type=int, default=10, help="of theirs in a repetition")
    options.add_argument("--batch", type=int, default=1, help="episodes per step of ours")
    options.add_argument("--repetitions", type=int, default=7)
    options.add_argument("--device", default="cpu", help="cpu or cuda")
    arguments = options.parse_args(argv)
    lines = [line for size in arguments.sizes for line in measure(size, arguments)]
    limits = Limits.measured(arguments.device)
    extra = ("images_a_second", "compile_seconds")
    conclude(staged("training", arguments.device), lines, arguments, extra=extra, limits=limits)


def measure(size: int, options: argparse.Namespace) -> list[Line]:
    """Eager and compiled, compared with learn2learn."""
    data = images(options.data, size=size, count=100)
    own = replace(data, items=data.items.to(options.device), path=None)
    contenders = {"eager": ours(own, size, options), "compiled": ours(own, size, options, compiled=True)}
    note = ""
    try:
        contenders["theirs"] = theirs(data, options)
    except ImportError as error:
        note = str(error)
    on_gpu = options.device != "cpu"
    finish = torch.cuda.synchronize if on_gpu else lambda: None
    # Forget what an earlier run compiled.
    with TemporaryDirectory() as folder, patch.dict(os.environ, TORCHINDUCTOR_CACHE_DIR=folder):
        first = race({"": contenders["compiled"]}, 1, warmup=0, finish=finish)[""].median
    times = race(contenders, options.repetitions, finish=finish)
    each = WAY * (SHOT + QUERY)
    episodes, target = options.steps * options.batch, ON_GPU if on_gpu else TARGETS[resolve()].get(size)
    floor = least(size, episodes * each, options.device)

    def line(kind: str, **figures: float) -> Line:
        return Line(
            f"conv4 {size}×{size}, {kind}", "learn2learn ProtoNet", times[kind], times.get("theirs"), target,
            per=episodes, theirs_per=options.their_steps, floor=floor, note=note,
            figures={"images_a_second": episodes * each / times[kind].median, **figures},
        )  # fmt: skip

    return [line("eager"), line("compiled", compile_seconds=first - times["compiled"].median)]


def least(size: int, images: int, device: str) -> Floor:
    """The operations of the convolutions of so many images, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        backbones.conv4()(torch.zeros(1, 3, size, size)).sum().backward()
    dtype = "bfloat16" if resolve("auto", device) == "bf16-mixed" else "float32"
    return Floor(images * counter.get_total_flops(), images * 3 * size * size, dtype)


if __name__ == "__main__":
    main()
