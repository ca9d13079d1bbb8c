"""Backbones: images in, one feature vector an image out.

A backbone is any module that maps float images ``[n, C, H, W]`` to features ``[n, D]``. Those here also have
``config`` (plain values, from which `build` makes the module again) and ``out_features(height, width)``, the
D for images of that size. Modules are named as in torchvision, so that weights are easy to carry over.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from inspect import signature
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from fewshot.errors import InputError
from fewshot.outside import outside

SLOPE = 0.1  # of the residual blocks' leaky ReLU


def max_pool(x: Float[Tensor, "n C H W"]) -> Float[Tensor, "n C H//2 W//2"]:
    """2×2 max-pooling; without gradient on the CPU, where torch's own also finds indices, five times faster.

    >>> max_pool(torch.tensor([[[[1.0, 2.0, 9.0], [3.0, 4.0, 9.0]]]]))
    tensor([[[[4.]]]])
    """
    if torch.is_grad_enabled() or x.is_cuda:
        return nn.functional.max_pool2d(x, 2)
    x = x[..., : x.shape[-2] // 2 * 2, : x.shape[-1] // 2 * 2]
    rows = torch.maximum(x[..., ::2, :], x[..., 1::2, :])
    return torch.maximum(rows[..., ::2], rows[..., 1::2])


def norm_act(
    x: Float[Tensor, "n C H W"], norm: nn.Module, slope: float, pool: bool
) -> Float[Tensor, "n C h w"]:
    """What stands between two convolutions: a norm, 2×2 max-pooling where asked for, leaky ReLU."""
    x = norm(x)
    # ReLU keeps order, so that pooling first is the same, and less work.
    return nn.functional.leaky_relu(max_pool(x) if pool else x, slope, inplace=True)


class Conv4(nn.Module):
    """Four times 3×3 convolution, batch norm, ReLU, 2×2 max-pooling; see `conv4`."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"name": "conv4", "in_channels": in_channels, "width": width}
        for i, channels in enumerate([in_channels, width, width, width], start=1):
            self.add_module(f"conv{i}", nn.Conv2d(channels, width, 3, padding=1, bias=False))
            self.add_module(f"bn{i}", nn.BatchNorm2d(width))
        self.norm_act = norm_act
        _initialise(self, slope=0.0)

    def forward(self, x: Float[Tensor, "n C H W"]) -> Float[Tensor, "n D"]:
        """Features ``[n, width · H//16 · W//16]``."""
        for i in range(1, 5):
            x = self.get_submodule(f"conv{i}")(x)
            x = self.norm_act(x, self.get_submodule(f"bn{i}"), 0.0, pool=True)
        return x.flatten(1)

    def out_features(self, height: int, width: int | None = None) -> int:
        """The D for images of ``height`` × ``width`` pixels (a square where no width is given)."""
        return self.config["width"] * (height // 16) * ((width or height) // 16)


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
        _initialise(self, slope=SLOPE)

    def forward(self, x: Float[Tensor, "n C H W"]) -> Float[Tensor, "n D"]:
        """Features ``[n, widths[-1]]``."""
        for i in range(1, len(self.config["widths"]) + 1):
            x = self.get_submodule(f"layer{i}")(x)
        return x.mean((2, 3))

    def out_features(self, height: int, width: int | None = None) -> int:
        """The D, here the last width whatever the size of the images."""
        return self.config["widths"][-1]


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
        _initialise(self, slope=0.0)

    def forward(self, x: Float[Tensor, "n C H W"]) -> Float[Tensor, "n D"]:
        """Features ``[n, widths[-1]]``."""
        x = self.conv1(x)
        for i in range(1, len(self.config["widths"]) + 1):
            x = self.get_submodule(f"layer{i}")(x)
        return self.norm_act(x, self.bn, 0.0, pool=False).mean((2, 3))

    def out_features(self, height: int, width: int | None = None) -> int:
        """The D, here the last width whatever the size of the images."""
        return self.config["widths"][-1]


def conv4(in_channels: int = 3, width: int = 64) -> Conv4:
    """The four-layer network of Matching and Prototypical Networks (Vinyals et al. 2016, Snell et al. 2017).

    Args:
        in_channels: channels of the images, 1 (grey) or 3 (colour); default 3.
        width: channels of every layer; default 64.

    Images of 84×84 pixels have 1600 features, of 32×32 256, of 28×28 64; the least side is 16 pixels.

    >>> conv4().out_features(84)
    1600
    """
    return Conv4(in_channels, width)


def resnet12(in_channels: int = 3, widths: Sequence[int] = (64, 160, 320, 640)) -> ResNet12:
    """The 12-layer residual network usual in few-shot learning (Oreshkin et al. 2018; Lee et al. 2019).

    Args:
        in_channels: channels of the images, 1 (grey) or 3 (colour); default 3.
        widths: channels of each block of three convolutions; default (64, 160, 320, 640).

    As many features as the last width, whatever the size of the images; the least side is 16 pixels with the
    usual four blocks.

    >>> resnet12(widths=(32, 64, 128, 256)).out_features(32)
    256
    """
    return ResNet12(in_channels, tuple(widths))


def wrn28_10(in_channels: int = 3, widths: Sequence[int] = (160, 320, 640)) -> WideResNet:
    """The wide residual network of 28 layers (Zagoruyko and Komodakis, BMVC 2016), without dropout.

    Args:
        in_channels: channels of the images, 1 (grey) or 3 (colour); default 3.
        widths: channels of each group of four blocks; default (160, 320, 640), ten times the narrow ones.

    As many features as the last width, whatever the size of the images. The first group keeps that size, and
    so costs the most of all backbones here.

    >>> wrn28_10(widths=(16, 32, 64)).out_features(32)
    64
    """
    return WideResNet(in_channels, tuple(widths))


BACKBONES: dict[str, Callable[..., nn.Module]] = {"conv4": conv4, "resnet12": resnet12, "wrn28_10": wrn28_10}


class Called(nn.Module):
    """A function of images ``[n, C, H, W]``, as a module; it has no weights that would be saved."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Float[Tensor, "n C H W"]) -> Float[Tensor, "n D"]:
        return self.function(x)


def is_outside(name: Any) -> bool:
    """Whether a backbone's name is that of another library's network, ``LIBRARY:NAME``."""
    return ":" in str(name)


def build(config: Mapping[str, Any]) -> nn.Module:
    """The backbone of a ``config``: its name, and the arguments of the function of that name.

    ``timm:NAME`` and ``torchvision:NAME`` take ``pretrained`` and ``frozen``, see `fewshot.outside.outside`.

    Raises:
        InputError: no backbone, or no argument of it, has that name.

    >>> build({"name": "conv4", "in_channels": 1, "width": 32}).out_features(28)
    32
    """
    name = config.get("name")
    if is_outside(name):
        make: Callable[..., nn.Module] = partial(outside, str(name))
    elif name in BACKBONES:
        make = BACKBONES[name]
    else:
        near = get_close_matches(str(name), BACKBONES, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        known = ", ".join([*BACKBONES, "timm:NAME", "torchvision:NAME"])
        raise InputError(f"backbone.name: expected one of {known}, got {name!r}{hint}")
    arguments = {key: value for key, value in config.items() if key != "name"}
    for key in arguments:
        if key not in (options := signature(make).parameters):
            raise InputError(f"backbone.{key}: {name} expects {', '.join(options)}")
    return make(**arguments)


def for_inference(backbone: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    """A copy of a backbone of this module that has the same features, sooner; any other one as it is.

    Each batch norm that follows a convolution is folded into it, and the weights lie as convolutions read
    them. The copy cannot be trained.

    Args:
        backbone: a `Conv4`, a `ResNet12` or a `WideResNet`.
        dtype: of the copy's weights; default float32.

    >>> backbone = conv4(width=8).eval()
    >>> x = torch.rand(2, 3, 32, 32)
    >>> torch.allclose(for_inference(backbone)(x), backbone(x), atol=1e-5)
    True
    """
    if not isinstance(backbone, Conv4 | ResNet12 | WideResNet):
        return backbone
    folded: nn.Module = copy.deepcopy(backbone).eval().requires_grad_(False)
    for module in folded.modules():  # children stand in the order in which they are computed
        children = list(module.named_children())
        for (name, layer), (following, norm) in pairwise(children):
            if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d | nn.SyncBatchNorm):
                setattr(module, name, fuse_conv_bn_eval(layer, norm))
                setattr(module, following, nn.Identity())
    return folded.to(dtype=dtype).to(memory_format=torch.channels_last)


def in_channels(backbone: nn.Module) -> int | None:
    """The channels of a backbone's images: of its config, else of its first convolution, else None."""
    config = getattr(backbone, "config", None)
    if isinstance(config, Mapping) and "in_channels" in config:
        return int(config["in_channels"])
    convolutions = (m.in_channels for m in backbone.modules() if isinstance(m, nn.Conv2d))
    return next(convolutions, None)


def _initialise(module: nn.Module, slope: float) -> None:
    """Kaiming's normal initialisation of the convolutions; batch norm starts as the identity."""
    for m in module.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, a=slope, mode="fan_out", nonlinearity="leaky_relu")
