"""Features of images by a resnet12 of widths 64-160-320-640, at 84×84, for inference.

Ours is `GraphFewShot.features`: from uint8 images to features, in bfloat16 if the machine has it,
channels-last, batch norm folded into the convolutions, as many images at a time as fit the cache. Against
the same network with the same weights as PyTorch runs it by default: eager, float32, contiguous, with the
images in batches of 64, and of 8, which stay in the cache as well. Weights are random and the images
generated, as the time does not depend on either.

The limit is the convolutions alone at the speed of a square matrix product, which they may exceed: a product
first copies its matrices into blocks, while a convolution reads channels-last images directly.
"""

import argparse

import torch
from materials import images
from measure import Floor, Line, conclude, parser, race
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from fewshot import backbones
from fewshot.graph.class_graph import ClassGraph
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.precision import resolve


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--images", type=int, default=64)
    options.add_argument("--size", type=int, default=84)
    options.add_argument("--widths", type=int, nargs=4, default=[64, 160, 320, 640])
    options.add_argument("--repetitions", type=int, default=7)
    arguments = options.parse_args(argv)
    conclude("extraction", measure(arguments), arguments, extra=("images_a_second", "least_cosine"))


def trained(widths: list[int]) -> backbones.ResNet12:
    """Random weights, and batch norms with the statistics of their inputs."""
    torch.manual_seed(0)
    backbone = backbones.resnet12(widths=widths)
    with torch.no_grad():
        for _ in range(3):
            backbone(torch.randn(8, 3, 32, 32))
    return backbone.eval()


def measure(options: argparse.Namespace) -> list[Line]:
    data = images(None, size=options.size, classes=2, count=options.images // 2)
    model = GraphFewShot(trained(options.widths), ClassGraph()).eval()

    def eager(batch: int) -> Tensor:
        parts = (part.float() / 127.5 - 1 for part in data.images.split(batch))
        return torch.cat([model.backbone(part) for part in parts])

    contenders = {"ours": lambda: model.features(data).items, 64: lambda: eager(64), 8: lambda: eager(8)}
    with torch.inference_mode():
        cosine = torch.cosine_similarity(contenders["ours"](), contenders[64](), dim=1).min().item()
        times = race(contenders, options.repetitions)
        with FlopCounterMode(display=False) as counter:
            model.backbone(torch.zeros(1, 3, options.size, options.size))
    half = resolve() == "bf16-mixed"
    least = Floor(
        len(data) * counter.get_total_flops(), data.images.nbytes, "bfloat16" if half else "float32"
    )
    figures = {"images_a_second": len(data) / times["ours"].median, "least_cosine": cosine}
    work = f"resnet12 {options.size}×{options.size}"
    return [
        Line(
            work, f"eager, float32, contiguous, by {batch}", times["ours"], times[batch], 2.5,
            per=len(data), floor=least, figures=figures,
        )
        for batch in (64, 8)
    ]  # fmt: skip


if __name__ == "__main__":
    main()
