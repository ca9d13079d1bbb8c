"""ResNet-12."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from fewshot.model.backbones.layers import SLOPE, initialise, max_pool, norm_act


class ResidualBlock(nn.Module):
    """Three 3×3 convolutions with batch norm, a 1×1 shortcut around them, and 2×2 max-pooling."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.downsample = nn.Sequential(nn.Conv2d(in_channels, width, 1, bias=False), nn.BatchNorm2d(width))
        self.norm_act = norm_act

    def forward(self, x: Float[Tensor, "n C H W"]) -> Float[Tensor, "n width h w"]:
        out = self.norm_act(self.conv1(x), self.bn1, SLOPE, pool=False)
        out = self.norm_act(self.conv2(out), self.bn2, SLOPE, pool=False)
        out = self.bn3(self.conv3(out)) + self.downsample(x)
        return nn.functional.leaky_relu(max_pool(out), SLOPE, inplace=True)


class ResNet12(nn.Module):
    """Residual blocks and a global average; see `resnet12`."""

    def __init__(self, in_channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"name": "resnet12", "in_channels": in_channels, "widths": list(widths)}
        for i, width in enumerate(widths, start=1):
            self.add_module(f"layer{i}", ResidualBlock(widths[i - 2] if i > 1 else in_channels, width))
        initialise(self, slope=SLOPE)

    def forward(self, x: Float[Tensor, "n C H W"]) -> Float[Tensor, "n D"]:
        """Features ``[n, widths[-1]]``."""
        for i in range(1, len(self.config["widths"]) + 1):
            x = self.get_submodule(f"layer{i}")(x)
        return x.mean((2, 3))

    def out_features(self, height: int, width: int | None = None) -> int:
        """The D: the last width, whatever the size of the images."""
        return self.config["widths"][-1]


def resnet12(in_channels: int = 3, widths: Sequence[int] = (64, 160, 320, 640)) -> ResNet12:
    """The 12-layer residual network usual in few-shot learning (Oreshkin et al. 2018; Lee et al. 2019).

    Args:
        in_channels: channels of the images, 1 (grey) or 3 (colour); default 3.
        widths: channels of each block of three convolutions; default (64, 160, 320, 640).

    It has as many features as the last width, whatever the size of the images; the smallest side is 16 pixels
    with the usual four blocks.

    >>> resnet12(widths=(32, 64, 128, 256)).out_features(32)
    256
    """
    return ResNet12(in_channels, tuple(widths))
