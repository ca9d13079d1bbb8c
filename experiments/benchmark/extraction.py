"""Features of images by a resnet12 of widths 64-160-320-640, at 84×84, for inference.

Ours is `GraphFewShot.features`: from uint8 images to features, in the precision and layout that are fastest
here, batch norm folded into the convolutions, as many images at a time as fit the cache. Against the same
network with the same weights, eager, in each of the plain ways: float32 or bfloat16 (autocast), contiguous or
channels-last, small or large batches. The target is for the fastest of them on the machine at hand. Weights
are random and the images generated, as the time does not depend on either. ``images_at_a_time`` in the file
has the seconds of ours by the number of images at a time, as shares of the usual one.

The limit is the convolutions alone at the speed of a square matrix product, which they may exceed: a product
first copies its matrices into blocks, while a convolution reads channels-last images directly.
"""

import argparse
import copy
from collections.abc import Callable
from functools import partial
from itertools import product

import torch
from lines import Line
from materials import images
from measure import Floor, Limits, Times, race
from stages import conclude, parser, staged
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fewshot import backbones
from fewshot.graph.class_graph import ClassGraph
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.precision import resolve
from fewshot.model.preprocess import fitting_batch

TARGET = 1.15  # over the fastest plain way
BATCHES = {"cpu": (8, 64), "cuda": (64, 512)}
SHARES = (0.25, 0.5, 1, 2, 4)  # of the usual number of images at a time


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--images", type=int, default=72)
    options.add_argument("--size", type=int, default=84)
    options.add_argument("--widths", type=int, nargs=4, default=[64, 160, 320, 640])
    options.add_argument("--repetitions", type=int, default=7)
    options.add_argument("--device", default="cpu", help="cpu or cuda")
    arguments = options.parse_args(argv)
    limits = Limits.measured(arguments.device)
    extra = ("images_a_second", "least_cosine")
    lines, parts = measure(arguments)
    stage, more = staged("extraction", arguments.device), {"images_at_a_time": parts}
    conclude(stage, lines, arguments, extra=extra, limits=limits, **more)


def trained(widths: list[int]) -> backbones.ResNet12:
    """Random weights, and batch norms with the statistics of their inputs."""
    torch.manual_seed(0)
    backbone = backbones.resnet12(widths=widths)
    with torch.no_grad():
        for _ in range(3):
            backbone(torch.randn(8, 3, 32, 32))
    return backbone.eval()


def measure(options: argparse.Namespace) -> tuple[list[Line], dict[str, Times]]:
    data = images(None, size=options.size, classes=2, count=options.images // 2)
    device = torch.device(options.device)
    model = GraphFewShot(trained(options.widths), ClassGraph()).eval().to(device)
    contenders: dict[str, Callable[[], Tensor]] = {"ours": lambda: model.features(data).items}
    for half, last, batch in product((False, True), (False, True), BATCHES[device.type]):
        name = f"{'bfloat16' if half else 'float32'}, {'channels-last' if last else 'contiguous'}, by {batch}"
        contenders[name] = plain(copy.deepcopy(model.backbone), data.images, device, half, last, batch)
    finish = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    with torch.inference_mode():
        exact = contenders[f"float32, contiguous, by {BATCHES[device.type][0]}"]()
        cosine = torch.cosine_similarity(contenders["ours"](), exact.cpu(), dim=1).min().item()
        times = race(contenders, options.repetitions, finish=finish)
        usual = fitting_batch(data.images, None, device)
        parts = {f"{share:g}": partial(model.features, data, max(1, int(share * usual))) for share in SHARES}
        by_parts = race(parts, options.repetitions, finish=finish)
        with FlopCounterMode(display=False) as counter:
            model.backbone(torch.zeros(1, 3, options.size, options.size, device=device))
    half = resolve(device=device) == "bf16-mixed"
    least = Floor(
        len(data) * counter.get_total_flops(), data.images.nbytes, "bfloat16" if half else "float32"
    )
    figures = {"images_a_second": len(data) / times["ours"].median, "least_cosine": cosine}
    ways = {name: found for name, found in times.items() if name != "ours"}
    fastest = min(ways, key=lambda name: ways[name].median)
    lines = [
        Line(
            f"resnet12 {options.size}×{options.size}", name, times["ours"], found,
            TARGET if name == fastest else None, per=len(data), floor=least, figures=figures,
        )
        for name, found in ways.items()
    ]  # fmt: skip
    return lines, by_parts


def plain(
    backbone: nn.Module, data: Tensor, device: torch.device, half: bool, last: bool, batch: int
) -> Callable[[], Tensor]:
    """The network as PyTorch runs it, on so many images at a time."""
    layout = torch.channels_last if last else torch.contiguous_format
    backbone = backbone.to(memory_format=layout)

    def run() -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            parts = (part.to(device).float() / 127.5 - 1 for part in data.split(batch))
            return torch.cat([backbone(part.contiguous(memory_format=layout)).float() for part in parts])

    return run


if __name__ == "__main__":
    main()
