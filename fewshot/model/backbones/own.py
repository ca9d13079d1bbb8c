"""A network of the user's own, from a Python file."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import isclass
from typing import Any

from torch import Tensor, nn

from fewshot.core.errors import InputError
from fewshot.core.own_code import from_file, where

KEYS = ("size", "channels", "mean", "std")


class OwnBackbone(nn.Module):
    """A function or module of images as a backbone, with the input that it says it expects.

    Args:
        call: float images ``[n, C, H, W]`` to features ``[n, D]``.
        name: for errors.

    Raises:
        InputError: an ``input`` that is not a mapping with some of size, channels, mean and std.

    >>> import torch
    >>> backbone = OwnBackbone(lambda images: images.mean((2, 3)), "mean")
    >>> backbone(torch.ones(2, 3, 8, 8)).shape
    torch.Size([2, 3])
    """

    def __init__(self, call: Any, name: str) -> None:
        super().__init__()
        self.call, self.name = call, name
        own = getattr(call, "input", None)
        if own is None:
            return
        if not isinstance(own, Mapping) or (wrong := [key for key in own if key not in KEYS]):
            got = f"{wrong[0]!r} among the keys" if isinstance(own, Mapping) else repr(own)
            raise InputError(f"{name}.input: expected a dictionary of any of {', '.join(KEYS)}, got {got}")
        self.input = {"channels": 3, **own}

    def forward(self, images: Tensor) -> Tensor:
        """The features **[n, D]** of images **[n, C, H, W]**."""
        found = self.call(images)
        if not isinstance(found, Tensor) or found.dim() != 2 or len(found) != len(images):
            got = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise InputError(f"{self.name}: expected features [{len(images)}, D], a tensor, got {got}")
        return found


def own_backbone(spec: str) -> OwnBackbone:
    """The network ``FILE.py:NAME``: a function, a module, or a class that is made into one without arguments.

    Raises:
        InputError: no such file, nothing of that name in it, or a class that cannot be made.
    """
    thing, name = from_file(spec, "source")
    try:
        return OwnBackbone(thing() if isclass(thing) else thing, name)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"source: {name} could not be made: {where(error)}") from error
