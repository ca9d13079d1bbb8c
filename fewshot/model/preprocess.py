"""From uint8 images to the input of a backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewshot.core.errors import InputError
from fewshot.core.untrusted.guard import brief
from fewshot.model.precision import layout

LARGEST_SIDE = 1024  # pixels
LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601, as PIL's mode "L"


class Preprocess(nn.Module):
    """Turn 8-bit images into a backbone's input: channels, size, values.

    Grey becomes colour by repeating the channel, colour becomes grey by its luminance; the middle square is
    cropped and resized bilinearly with antialiasing; the values become ``(image / 255 - mean) / std``.

    Args:
        size: height and width in pixels; default None leaves the size of the images.
        channels: 1 or 3; default None leaves the channels of the images.
        mean, std: of values from 0 to 1, one for all channels or one per channel; default 0.5 and 0.5, which
            gives values from -1 to 1.

    Shapes: uint8 ``[n, C, H, W]`` to float ``[n, channels, size, size]``.

    >>> Preprocess(size=28, channels=3)(torch.zeros(2, 1, 84, 60, dtype=torch.uint8)).shape
    torch.Size([2, 3, 28, 28])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        size: int | None = None,
        channels: int | None = None,
        mean: Sequence[float] = (0.5,),
        std: Sequence[float] = (0.5,),
    ) -> None:
        super().__init__()
        if channels is not None and (type(channels) is not int or channels not in (1, 3)):
            raise InputError(f"channels: expected 1 (grey) or 3 (colour), got {brief(channels)}")
        if size is not None and (type(size) is not int or not 1 <= size <= LARGEST_SIDE):
            raise InputError(f"size: expected None or from 1 to {LARGEST_SIDE} pixels, got {brief(size)}")
        for name, values, positive in (("mean", mean, False), ("std", std, True)):
            _check_values(name, values, channels, positive)
        self.size, self.channels = size, channels
        self.config = {"size": size, "channels": channels, "mean": list(mean), "std": list(std)}
        # Not in the state dict: the config has them.
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    @classmethod
    def of(cls, backbone: nn.Module, channels: int | None) -> Preprocess:
        """The preprocessing that a backbone asks for (its ``input``), else none but the channels it takes."""
        own = getattr(backbone, "input", None)
        if isinstance(own, Mapping):
            return cls(**own)
        return cls(channels=channels if channels in (1, 3) else None)

    def forward(self, images: Tensor) -> Float[Tensor, "n c h w"]:
        check_images("images", images, "n C H W")
        x = self._convert(images.float() / 255)
        if self.size is not None:  # as when a data set is packed: the middle square
            side = min(x.shape[-2:])
            top, left = (x.shape[-2] - side) // 2, (x.shape[-1] - side) // 2
            x = x[..., top : top + side, left : left + side]
        if self.size is not None and tuple(x.shape[-2:]) != (self.size, self.size):
            x = nn.functional.interpolate(x, (self.size, self.size), mode="bilinear", antialias=True)
        return ((x - self.mean) / self.std).contiguous(memory_format=layout(x.device))

    def _convert(self, x: Float[Tensor, "n C H W"]) -> Float[Tensor, "n c H W"]:
        have = x.shape[1]
        if self.channels in (None, have):
            return x
        if have == 1:
            return x.expand(-1, 3, -1, -1)
        if have == 3:
            red, green, blue = (weight * x[:, i : i + 1] for i, weight in enumerate(LUMINANCE))
            return red + green + blue
        raise InputError(f"images: expected 1 (grey) or 3 (colour) channels, got {have} in {list(x.shape)}")


def _check_values(name: str, values: Any, channels: int | None, positive: bool) -> None:
    """One finite number, or one per channel."""
    counts = {1, channels or 3, 3}
    listed = isinstance(values, Sequence) and len(values) in counts
    if not listed or not all(type(value) in (int, float) and abs(value) < 1e6 for value in values):
        raise InputError(f"{name}: expected a number for all channels or for each, got {brief(values)}")
    if positive and min(values) < 1e-6:
        raise InputError(f"{name}: expected numbers above 0, got {brief(values)}")


def check_images(name: str, images: Tensor, dims: str) -> None:
    if not isinstance(images, Tensor):
        raise InputError(f"{name}: expected a tensor, got {type(images).__name__}")
    if images.dtype != torch.uint8 or images.dim() != len(dims.split()) or 0 in images.shape[-3:]:
        expected = dims.replace(" ", ", ")
        kind = str(images.dtype).removeprefix("torch.")
        raise InputError(f"{name}: expected uint8 [{expected}], got {kind} {list(images.shape)}")


def fitting_batch(images: Tensor, size: int | None, device: torch.device) -> int:
    """How many images to encode at a time."""
    height, width = (size, size) if size else images.shape[-2:]
    most = max(1, 2**22 // (height * width))
    if device.type != "cpu":
        return min(512, most)
    # 9 images of 84×84 per thread, whose 64 channels take 8 MB in bfloat16. Fewer are slow in the last
    # layers.
    batch = max(1, 2**16 // (height * width)) * torch.get_num_threads()
    return min(batch, most)
