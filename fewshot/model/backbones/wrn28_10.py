"""WRN-28-10, the wide residual network."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from fewshot.model.backbones.layers import initialise, norm_act


class PreactivationBlock(nn.Module):
    """Two 3×3 convolutions, each after batch norm and ReLU, and a shortcut around them."""

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        same = in_channels == width and stride == 1
        self.downsample = None if same else nn.Conv2d(in_channels, width, 1, stride, bias=False)
        self.norm_act = norm_act

    def forward(self, x: Float[Tensor, "n C H W"]) -> Float[Tensor, "n width h w"]:
        out = self.norm_act(x, self.bn1, 0.0, pool=False)
        shortcut = x if self.downsample is None else self.downsample(out)
        out = self.norm_act(self.conv1(out), self.bn2, 0.0, pool=False)
        return self.conv2(out) + shortcut


class WideResNet(nn.Module):
    """A convolution, groups of four blocks, batch norm, ReLU and a global average; see `wrn28_10`."""

    def __init__(self, in_channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"name": "wrn28_10", "in_channels": in_channels, "widths": list(widths)}
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        for i, width in enumerate(widths, start=1):
            first = PreactivationBlock(widths[i - 2] if i > 1 else 16, width, stride=2 if i > 1 else 1)
            others = [PreactivationBlock(width, width, stride=1) for _ in range(3)]
            self.add_module(f"layer{i}", nn.Sequential(first, *others))
        self.bn = nn.BatchNorm2d(widths[-1])
        self.norm_act = norm_act
        initialise(self, slope=0.0)

    def forward(self, x: Float[Tensor, "n C H W"]) -> Float[Tensor, "n D"]:
        """Features ``[n, widths[-1]]``."""
        x = self.conv1(x)
        for i in range(1, len(self.config["widths"]) + 1):
            x = self.get_submodule(f"layer{i}")(x)
        return self.norm_act(x, self.bn, 0.0, pool=False).mean((2, 3))

    def out_features(self, height: int, width: int | None = None) -> int:
        """The D: the last width, whatever the size of the images."""
        return self.config["widths"][-1]


def wrn28_10(in_channels: int = 3, widths: Sequence[int] = (160, 320, 640)) -> WideResNet:
    """The wide residual network of 28 layers (Zagoruyko and Komodakis, BMVC 2016), without dropout.

    Args:
        in_channels: channels of the images, 1 (grey) or 3 (colour); default 3.
        widths: channels of each group of four blocks; default (160, 320, 640), ten times the narrow ones.

    It has as many features as the last width, whatever the size of the images. The first group keeps that
    size, which makes this the most expensive backbone here.

    >>> wrn28_10(widths=(16, 32, 64)).out_features(32)
    64
    """
    return WideResNet(in_channels, tuple(widths))
