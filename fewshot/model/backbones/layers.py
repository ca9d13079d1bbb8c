"""Layers that several backbones share."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

SLOPE = 0.1  # of the residual blocks' leaky ReLU


def max_pool(x: Float[Tensor, "n C H W"]) -> Float[Tensor, "n C H//2 W//2"]:
    """2×2 max-pooling; on the CPU without gradients, it does not find the indices that torch's own returns.

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
    """What lies between two convolutions: a norm, 2×2 max-pooling if asked for, leaky ReLU."""
    x = norm(x)
    # ReLU keeps order, so pooling first gives the same with less work.
    return nn.functional.leaky_relu(max_pool(x) if pool else x, slope, inplace=True)


def in_channels(backbone: nn.Module) -> int | None:
    """The channels of a backbone's images: from its config, else its first convolution, else None."""
    config = getattr(backbone, "config", None)
    if isinstance(config, Mapping) and "in_channels" in config:
        return int(config["in_channels"])
    convolutions = (m.in_channels for m in backbone.modules() if isinstance(m, nn.Conv2d))
    return next(convolutions, None)


def initialise(module: nn.Module, slope: float) -> None:
    """Kaiming's normal initialisation of the convolutions; batch norm starts as the identity."""
    for m in module.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, a=slope, mode="fan_out", nonlinearity="leaky_relu")
