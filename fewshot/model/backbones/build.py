"""Backbones: images in, one feature vector per image out.

A backbone is any module that maps float images ``[n, C, H, W]`` to features ``[n, D]``. Those here also have
``config`` (plain values, from which `build` makes the module again) and ``out_features(height, width)``, the
D for images of that size. Submodules are named as in torchvision, so that weights are easy to carry over.
"""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import partial
from inspect import signature
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from fewshot.core.errors import InputError
from fewshot.core.untrusted.guard import brief
from fewshot.model.backbones.conv4 import conv4
from fewshot.model.backbones.external import outside
from fewshot.model.backbones.resnet12 import resnet12
from fewshot.model.backbones.wrn28_10 import wrn28_10

BACKBONES: dict[str, Callable[..., nn.Module]] = {"conv4": conv4, "resnet12": resnet12, "wrn28_10": wrn28_10}


WIDEST, DEEPEST = 4096, 8  # channels of a layer, and groups of layers
LARGEST_LAYER = 2**26  # numbers per image


class Called(nn.Module):
    """A function of images ``[n, C, H, W]`` as a module; no weights of it are saved."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Float[Tensor, "n C H W"]) -> Float[Tensor, "n D"]:
        return self.function(x)


def is_outside(name: Any) -> bool:
    """Whether a backbone's name is that of another library's network, ``LIBRARY:NAME``."""
    return ":" in str(name)


def build(config: Mapping[str, Any]) -> nn.Module:
    """Make the backbone of a ``config``, which has its name and the arguments of the function of that name.

    ``timm:NAME`` and ``torchvision:NAME`` take ``pretrained`` and ``frozen``, see
    `fewshot.model.backbones.external.outside`.

    Raises:
        InputError: no backbone has that name, or it has no such argument.

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
    _check(arguments)
    return make(**arguments)


def check_activations(backbone: nn.Module, size: Any) -> None:
    """Refuse a built-in backbone that would fill the memory with one image of ``size`` × ``size`` pixels.

    Raises:
        InputError: a layer with more than 2^26 numbers per image.
    """
    config = getattr(backbone, "config", {})
    if not isinstance(size, int) or config.get("name") not in BACKBONES:
        return
    widths = config.get("widths") or [config["width"]]
    most = max(width * max(1, size // 2**i) ** 2 for i, width in enumerate(widths))
    if most > LARGEST_LAYER:
        raise InputError(
            f"backbone: expected layers of at most {LARGEST_LAYER:,} numbers per image, got {most:,} "
            f"for images of {size} x {size} pixels"
        )


def _check(arguments: Mapping[str, Any]) -> None:
    """Refuse arguments that no backbone has."""
    for key, most in (("in_channels", 3), ("width", WIDEST)):
        if key in arguments and not (_is_whole(arguments[key]) and 1 <= arguments[key] <= most):
            raise InputError(f"backbone.{key}: expected from 1 to {most}, got {brief(arguments[key])}")
    widths = arguments.get("widths", [1])
    listed = isinstance(widths, list | tuple) and 1 <= len(widths) <= DEEPEST
    if not listed or not all(_is_whole(width) and 1 <= width <= WIDEST for width in widths):
        raise InputError(
            f"backbone.widths: expected 1 to {DEEPEST} numbers from 1 to {WIDEST}, got {brief(widths)}"
        )
    for key in ("pretrained", "frozen"):
        if not isinstance(arguments.get(key, False), bool):
            raise InputError(f"backbone.{key}: expected true or false, got {brief(arguments[key])}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
