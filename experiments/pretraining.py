"""Ways to pretrain on photographs at 32×32: what each is worth on the validation classes.

    python experiments/pretraining.py miniimagenet:PATH/tiny-imagenet-fs.tar [--ways "15 epochs" ...]

trains the resnet12 of ``configs/tiny-imagenet-fs.yaml`` with a cosine classifier of the 64 training classes
in each of `WAYS`, and scores prototypes on 3,000 episodes of the validation classes, 5-way 1-shot and 5-shot;
test classes take no part. A row per way goes to ``experiments/results/pretraining.json``. *cost*: images
through forward and backward passes, next to 30 epochs of 32×32 (a forward pass alone is a third, 24×24 is
0.56). Meant for a GPU, on which steps are captured as CUDA graphs and several processes share the ways; on a
processor a way takes half an hour.
"""

import argparse
import copy
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.multiprocessing as mp
import torch.nn.functional as F
from main_job import RESULTS, machine
from torch import Tensor, nn

from fewshot.core.files import write_json
from fewshot.data.loading import load
from fewshot.data.packed import PackedDataset
from fewshot.model.backbones.resnet12 import resnet12
from fewshot.training.losses import CosineClassifier

WIDTHS = (32, 64, 160, 320)
CLASSES, SIZE, CROP, BRIGHTNESS = 64, 32, 4, 0.2
AT_24 = {"sizes": [[24, 0.6], [32, 0.4]]}
AT_16 = {"sizes": [[16, 0.3], [24, 0.4], [32, 0.3]]}
EMA = {"ema": 0.999, "distill": 0.5}
WAYS: dict[str, dict[str, Any]] = {
    "30 epochs": {"epochs": 30},
    "15 epochs": {"epochs": 15},
    "15 epochs, no label smoothing": {"epochs": 15, "smoothing": 0.0},
    "15 epochs, weight decay 1e-3": {"epochs": 15, "decay": 1e-3},
    "15 epochs, rate 0.1": {"epochs": 15, "lr": 0.1},
    "15 epochs, batches of 64, rate 0.1": {"epochs": 15, "batch": 64, "lr": 0.1},
    "15 epochs, rotations told apart": {"epochs": 15, "rotation": "all"},
    "15 epochs, weight decay 1e-3, CutMix": {"epochs": 15, "decay": 1e-3, "cutmix": 0.5},
    "20 epochs, from 24×24": {"epochs": 20, **AT_24},
    "20 epochs, from 24×24, half rotated": {"epochs": 20, "rotation": "half", **AT_24},
    "24 epochs, from 16×16": {"epochs": 24, **AT_16},
    "14 epochs, distilled from 14": {"epochs": 14, "teacher": 14},
    "24 epochs, distilled from its mean": {"epochs": 24, **EMA},
    "30 epochs, no label smoothing": {"epochs": 30, "smoothing": 0.0},
    "30 epochs, weight decay 1e-3": {"epochs": 30, "decay": 1e-3},
    "30 epochs, CutMix": {"epochs": 30, "cutmix": 0.5},
    "30 epochs, rotations told apart": {"epochs": 30, "rotation": "all"},
    "30 epochs, half rotated": {"epochs": 30, "rotation": "half"},
    "30 epochs, a class for each rotation": {"epochs": 30, "rotation": "classes"},
}


class Pretraining:
    """One way, on images that are on the device as a whole."""

    def __init__(self, data: PackedDataset, way: dict[str, Any], device: torch.device, seed: int = 0) -> None:
        self.way, self.device, self.seed, self.batch = way, device, seed, way.get("batch", 128)
        self.images, self.labels = data.items.to(device), data.labels.to(device)
        torch.manual_seed(seed)
        rotation = way.get("rotation")
        self.net = resnet12(3, WIDTHS).to(device, memory_format=torch.channels_last)
        self.head = CosineClassifier(WIDTHS[-1], CLASSES * (4 if rotation == "classes" else 1)).to(device)
        self.turns = nn.Linear(WIDTHS[-1], 4).to(device) if rotation in ("all", "half") else None
        self.parts = nn.ModuleList([self.net, self.head, *([self.turns] if self.turns else [])])
        self.parameters = list(self.parts.parameters())
        self.momenta = [torch.zeros_like(p) for p in self.parameters]
        self.index = torch.zeros(self.batch, dtype=torch.int64, device=device)
        self.lr = torch.zeros((), device=device)
        some = self.images[::4].float() / 255
        self.mean, self.std = some.mean((0, 2, 3), keepdim=True), some.std((0, 2, 3), keepdim=True)
        self.average = copy.deepcopy(self.parts[:2]).requires_grad_(False) if "ema" in way else None
        self.teacher = self.average

    def prepared(self, images: Tensor) -> Tensor:
        return ((images.float() / 255 - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def augmented(self, size: int) -> Tensor:
        x, count = self.prepared(self.images[self.index]), self.batch
        flip = torch.rand(count, device=self.device) < 0.5
        dy, dx = torch.randint(-CROP, CROP + 1, (2, count, 1), device=self.device)
        at, last = torch.arange(SIZE, device=self.device)[None], SIZE - 1
        rows = last - (last - (at + dy).abs()).abs()  # reflected at the edges
        columns = torch.where(flip[:, None], last - at, at.expand(count, -1)) + dx
        columns = last - (last - columns.abs()).abs()
        each = torch.arange(count, device=self.device)[:, None, None]
        x = x[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        if size != SIZE:
            x = F.interpolate(x, (size, size), mode="bilinear", antialias=True)
        return x * (1 + BRIGHTNESS * (torch.rand(count, 1, 1, 1, device=self.device) * 2 - 1))

    def turned(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """The batch with parts of it rotated, and by how many quarters of a turn."""
        rotation = self.way.get("rotation")
        if rotation is None:
            return x, None
        part = self.batch // (6 if rotation == "half" else 4)
        counts = [self.batch - 3 * part, part, part, part]
        x = torch.cat([torch.rot90(some, turns, (2, 3)) for turns, some in enumerate(x.split(counts))])
        return x, torch.cat([self.labels.new_full((n,), turns) for turns, n in enumerate(counts)])

    def mixed(self, x: Tensor, size: int) -> tuple[Tensor, Tensor | None]:
        """CutMix with a box of the next image, in some steps, and the share that stays."""
        if "cutmix" not in self.way:
            return x, None
        u = torch.rand((), device=self.device)
        mixes = (torch.rand((), device=self.device) < self.way["cutmix"]).float()
        side, centre = (1 - u).sqrt() * size, torch.rand(2, 1, device=self.device) * size
        rows, columns = (torch.arange(size, device=self.device) + 0.5 - centre).abs() < side / 2
        inside = (rows[:, None] & columns).float() * mixes
        return x * (1 - inside) + x.roll(1, 0) * inside, 1 - inside.mean()

    def scores(self, parts: nn.ModuleList, x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(self.device.type, dtype=torch.bfloat16, cache_enabled=False):
            features = parts[0](x)
        return features.float(), parts[1](features.float())

    def step(self, size: int) -> None:
        way, labels = self.way, self.labels[self.index]
        x, turns = self.turned(self.augmented(size))
        x, share = self.mixed(x, size)
        x = x.contiguous(memory_format=torch.channels_last)
        features, scores = self.scores(self.parts, x)
        classes = 4 * labels + turns if way.get("rotation") == "classes" and turns is not None else labels
        smoothing = way.get("smoothing", 0.1)
        loss = F.cross_entropy(scores, classes, label_smoothing=smoothing)
        if share is not None:
            other = F.cross_entropy(scores, labels.roll(1), label_smoothing=smoothing)
            loss = share * loss + (1 - share) * other
        if self.turns is not None and turns is not None:
            loss = loss + 0.5 * F.cross_entropy(self.turns(features), turns)
        if self.teacher is not None:
            with torch.no_grad():
                target = F.softmax(self.scores(self.teacher, x)[1] / 4, -1)
            distilled = 16 * F.kl_div(F.log_softmax(scores / 4, -1), target, reduction="batchmean")
            loss = loss + way["distill"] * distilled if "ema" in way else (loss + distilled) / 2
        self.descend(torch.autograd.grad(loss, self.parameters))

    @torch.no_grad()
    def descend(self, found: tuple[Tensor, ...]) -> None:
        """SGD with Nesterov momentum, its rate in a tensor."""
        grads = torch._foreach_add(list(found), self.parameters, alpha=self.way.get("decay", 5e-4))
        torch._foreach_mul_(self.momenta, 0.9)
        torch._foreach_add_(self.momenta, grads)
        grads = torch._foreach_add(grads, self.momenta, alpha=0.9)
        torch._foreach_mul_(grads, self.lr)
        torch._foreach_sub_(self.parameters, grads)
        if self.average is not None:
            own = [p for part in self.parts[:2] for p in part.parameters()]
            torch._foreach_lerp_(list(self.average.parameters()), own, 1 - self.way["ema"])

    def captured(self, sizes: list[int]) -> dict[int, Any]:
        """A call per size: on a GPU the replay of a CUDA graph, with everything as it was before."""
        if self.device.type != "cuda":
            return {size: lambda size=size: self.step(size) for size in sizes}
        everything = nn.ModuleList([self.parts, *([self.average] if self.average else [])])
        before = copy.deepcopy(everything.state_dict())
        self.index.copy_(torch.arange(self.batch))
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for size in sizes * 3:
                self.step(size)
        torch.cuda.current_stream().wait_stream(side)
        calls = {}
        for size in sizes:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self.step(size)
            calls[size] = graph.replay
        everything.load_state_dict(before)
        for momentum in self.momenta:
            momentum.zero_()
        return calls

    def train(self, epochs: int) -> None:
        """One cycle of the rate, after a warm-up of 15 % of the steps."""
        each = len(self.images) // self.batch
        steps, highest = epochs * each, self.way.get("lr", 0.2)
        sizes = self.way.get("sizes", [[SIZE, 1.0]])
        calls = self.captured([size for size, _ in sizes])
        ends, warm = np.cumsum([share for _, share in sizes]) * steps, 0.15 * steps - 1
        generator = torch.Generator().manual_seed(self.seed)
        for step in range(steps):
            if step % each == 0:
                order = torch.randperm(len(self.images), generator=generator).to(self.device)
            rising, done = step <= warm, (step / warm if step <= warm else (step - warm) / (steps - 1 - warm))
            first, last = (highest / 25, highest) if rising else (highest, highest / 25e4)
            self.lr.fill_(last + (first - last) / 2 * (1 + math.cos(math.pi * done)))
            self.index.copy_(order[step % each * self.batch :][: self.batch])
            place = min(int(np.searchsorted(ends, step, side="right")), len(sizes) - 1)
            calls[sizes[place][0]]()

    @torch.no_grad()
    def features(self, net: nn.Module, images: Tensor) -> Tensor:
        """Centred features, of image and mirror image, with statistics of images as they are."""
        norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
        order = torch.randperm(len(self.images), generator=torch.Generator().manual_seed(0))[:4096]
        base = self.images[order.to(self.device)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over batches
        net.train()
        for part in base.split(256):
            net(self.prepared(part))
        net.eval()

        def encoded(images: Tensor) -> Tensor:
            both = [(net(x) + net(x.flip(-1))) / 2 for x in map(self.prepared, images.split(1000))]
            return torch.cat(both)

        return (encoded(images.to(self.device)) - encoded(base).mean(0)).cpu()


def accuracy(features: Tensor, labels: Tensor, shot: int, episodes: int = 3000) -> float:
    """5-way, 15 queries per class, nearest prototype by cosine."""
    unit = F.normalize(features, dim=-1)
    by_class = torch.stack([unit[labels == c] for c in range(int(labels.max()) + 1)])
    generator, right = torch.Generator().manual_seed(shot), []
    for _ in range(episodes // 100):
        classes = torch.rand(100, len(by_class), generator=generator).argsort(1)[:, :5]
        images = torch.rand(100, 5, by_class.shape[1], generator=generator).argsort(2)[:, :, : shot + 15]
        x = by_class[classes[:, :, None], images]
        prototypes = F.normalize(x[:, :, :shot].mean(2), dim=-1)
        answers = torch.einsum("bnqd,bmd->bnqm", x[:, :, shot:], prototypes).argmax(-1)
        right.append((answers == torch.arange(5)[None, :, None]).float().mean((1, 2)))
    return round(100 * torch.cat(right).mean().item(), 2)


def measured(name: str, spec: str, device: torch.device) -> dict[str, Any]:
    """The row of one way."""
    way, start = WAYS[name], time.perf_counter()
    splits = load(spec, size=SIZE, progress=False)
    run = Pretraining(splits.train, way, device)
    if "teacher" in way:
        first = Pretraining(splits.train, way, device)
        first.train(way["teacher"])
        run.teacher = first.parts[:2].eval().requires_grad_(False)
    run.train(way["epochs"])
    net = run.net if run.average is None else run.average[0]
    features = run.features(net, splits.val.items)
    scores = {f"{shot}-shot": accuracy(features, splits.val.labels, shot) for shot in (1, 5)}
    seconds = round(time.perf_counter() - start, 1)
    return {"way": name, "cost": round(cost(way), 2), **scores, "options": way, "seconds": seconds}


def cost(way: dict[str, Any]) -> float:
    """Work next to 30 epochs of 32×32.

    >>> cost({"epochs": 15}), round(cost({"epochs": 14, "teacher": 14}), 2)
    (0.5, 1.09)
    """
    pixels = sum(share * (size / SIZE) ** 2 for size, share in way.get("sizes", [[SIZE, 1.0]]))
    passes = 4 / 3 if "teacher" in way or "ema" in way else 1.0
    return (way["epochs"] * pixels * passes + way.get("teacher", 0)) / 30


def worker(number: int, names: Any, spec: str, file: Path, lock: Any) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    while (name := names.get()) is not None:
        row = measured(name, spec, device)
        row["machine"] = {
            **machine(),
            "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        }
        with lock:
            print(json.dumps(row), flush=True)
            rows = json.loads(file.read_text()) if file.exists() else []
            write_json(file, [other for other in rows if other["way"] != name] + [row])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", help="SPEC of the images")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), help="which of them (default all)")
    parser.add_argument("--processes", type=int, default=1, help="that share the ways")
    parser.add_argument("--out", type=Path, default=RESULTS / "pretraining.json")
    arguments = parser.parse_args()
    load(arguments.data, size=SIZE)
    context = mp.get_context("spawn")
    names, lock = context.Queue(), context.Lock()
    for name in [*arguments.ways, *[None] * arguments.processes]:
        names.put(name)
    given = (names, arguments.data, arguments.out, lock)
    mp.spawn(worker, given, nprocs=arguments.processes)


if __name__ == "__main__":
    main()
