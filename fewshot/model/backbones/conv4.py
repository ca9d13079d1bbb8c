"""Conv-4, the four-block network of the field's first papers."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from fewshot.model.backbones.layers import initialise, norm_act


class Conv4(nn.Module):
    """Four times 3×3 convolution, batch norm, ReLU, 2×2 max-pooling; see `conv4`."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"name": "conv4", "in_channels": in_channels, "width": width}
        for i, channels in enumerate([in_channels, width, width, width], start=1):
            self.add_module(f"conv{i}", nn.Conv2d(channels, width, 3, padding=1, bias=False))
            self.add_module(f"bn{i}", nn.BatchNorm2d(width))
        self.norm_act = norm_act
        initialise(self, slope=0.0)

    def forward(self, x: Float[Tensor, "n C H W"]) -> Float[Tensor, "n D"]:
        """Features ``[n, width · H//16 · W//16]``."""
        for i in range(1, 5):
            x = self.get_submodule(f"conv{i}")(x)
            x = self.norm_act(x, self.get_submodule(f"bn{i}"), 0.0, pool=True)
        return x.flatten(1)

    def out_features(self, height: int, width: int | None = None) -> int:
        """The D for images of ``height`` × ``width`` pixels (square if no width is given)."""
        return self.config["width"] * (height // 16) * ((width or height) // 16)


def conv4(in_channels: int = 3, width: int = 64) -> Conv4:
    """The four-layer network of Matching and Prototypical Networks (Vinyals et al. 2016, Snell et al. 2017).

    Args:
        in_channels: channels of the images, 1 (grey) or 3 (colour); default 3.
        width: channels of every layer; default 64.

    Images of 84×84 pixels have 1600 features, of 32×32 256, of 28×28 64; the smallest side is 16 pixels.

    >>> conv4().out_features(84)
    1600
    """
    return Conv4(in_channels, width)
