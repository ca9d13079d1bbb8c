"""Training a backbone with `torch.compile`, as far as that pays.

On a GPU the whole backbone is compiled. On a CPU only what lies between the convolutions of a `Conv4` or a
`ResNet12` is: batch norm, pooling and activation.

Why it exists: eagerly, each of the three reads and writes whole activations, which takes nearly as long as
the convolutions. Here they take two passes over memory instead of eight. Compiling the whole network on a CPU
does not achieve that, because the automatic derivative of the pooling does not fuse; so the derivative is
written by hand. What it buys: a training step of conv4 takes 201 ms instead of 230 at 84×84 pixels, and 36
instead of 39 at 32×32 (`experiments/results/benchmark/training.json`, which also has the seconds of
compiling); less for a resnet12, whose convolutions dominate. When to delete it: when `backbone.compile()` on
a CPU is as fast as this module.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from inspect import unwrap
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from fewshot.core.errors import InputError
from fewshot.core.fastest import fastest
from fewshot.model.backbones.conv4 import Conv4
from fewshot.model.backbones.layers import SLOPE, norm_act
from fewshot.model.backbones.resnet12 import ResidualBlock
from fewshot.model.precision import Precision, resolve

GAIN = 1.2  # how many times as fast what is compiled has to be
LEAST = 2**20  # values of an activation; for smaller ones compiled loops do not pay


def compiling_pays(backbone: nn.Module, device: torch.device, precision: Precision = "auto") -> bool:
    """Whether the passes between convolutions are at least 1.2 times as fast if compiled, on a CPU.

    They are timed once, which takes some seconds, and the answer is kept in the cache folder (see
    `fewshot.core.fastest`). False on other devices, where the whole backbone would be compiled, and if this
    backbone cannot be compiled here.

    Args:
        backbone: see `compile_backbone`.
        device: where it would be trained.
        precision: in which it would be trained.
    """
    if device.type != "cpu":
        return False
    try:
        _check(backbone, device)
        return _measured(resolve(precision, device), torch.get_num_threads()) == "compiled"
    except InputError:
        return False


def compile_backbone(backbone: nn.Module, device: torch.device) -> None:
    """Compile a backbone for training on a device; its results are the same up to rounding.

    Args:
        backbone: on a CPU, a `Conv4` or a `ResNet12`.
        device: where it will be trained.

    Raises:
        InputError: on a CPU, another backbone; or `torch.compile` does not work, such as without a compiler.
    """
    blocks = _check(backbone, device)
    if device.type == "cuda":
        backbone.compile()
        return
    for block in blocks:
        block.norm_act = fused_norm_act


def _check(backbone: nn.Module, device: torch.device) -> list[Conv4 | ResidualBlock]:
    """The blocks that can be compiled on a CPU, or the error of `compile_backbone`."""
    blocks = [m for m in backbone.modules() if isinstance(m, Conv4 | ResidualBlock)]
    if device.type != "cuda" and not blocks:
        name = type(backbone).__name__
        raise InputError(f"compile: expected conv4 or resnet12 on a CPU, got {name}")
    try:
        torch.compile(_square)(torch.ones(8, device=device))
    except Exception as error:  # anything that torch.compile lacks on this machine
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"compile: torch.compile does not work on this machine: {reason}") from error
    return blocks


@cache  # the file is read once per process
def _measured(precision: str, threads: int) -> str:
    dtype = torch.bfloat16 if precision == "bf16-mixed" else torch.float32
    ways = {"eager": _training_step(norm_act, dtype), "compiled": _training_step(fused_norm_act, dtype)}
    question = f"passes between convolutions in training, {str(dtype).removeprefix('torch.')}"
    return fastest(question, ways, margin=GAIN)


def _training_step(function: Callable[..., Tensor], dtype: torch.dtype) -> Callable[[], None]:
    """The function forward and backward, on maps of a first block of the built-in backbones."""
    generator = torch.Generator().manual_seed(0)
    x, gradient = (torch.randn(16, 64, side, side, generator=generator).to(dtype) for side in (42, 21))
    x, gradient = (part.contiguous(memory_format=torch.channels_last) for part in (x, gradient))
    norm = nn.BatchNorm2d(64)

    def step() -> None:
        with torch.enable_grad(), torch.autocast("cpu", enabled=False):
            out = function(x.requires_grad_(), norm, SLOPE, True)
            torch.autograd.grad(out, (x, *norm.parameters()), gradient)

    return step


def fused_norm_act(
    x: Float[Tensor, "n C H W"], norm: nn.Module, slope: float, pool: bool
) -> Float[Tensor, "n C h w"]:
    """`fewshot.model.backbones.layers.norm_act`, fused if that is possible and pays.

    That is in training, on a CPU, for large activations; if they are pooled, only with even height and width.
    """
    even = not pool or (x.shape[2] % 2 == 0 and x.shape[3] % 2 == 0)
    pays = x.device.type == "cpu" and x.numel() >= LEAST and torch.is_grad_enabled()
    if not (isinstance(norm, nn.BatchNorm2d) and norm.training and even and pays):
        return norm_act(x, norm, slope, pool)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    out, mean, variance = _NormAct.apply(x, norm.weight, norm.bias, norm.running_mean, norm.eps, slope, pool)
    count = x.numel() // x.shape[1]
    with torch.no_grad():
        norm.num_batches_tracked += 1
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * (count / (count - 1)), norm.momentum)
    return out


class _NormAct(torch.autograd.Function):
    """Batch norm, pooling and activation; it pools first and normalises only what is left.

    Normalising keeps the order of values if its scale is positive, so pooling may come first; negative scales
    are handled by multiplying with their sign. With s the scale over the standard deviation and x̂ the
    normalised activation, the derivative of batch norm is s (g − mean(g) − x̂ mean(g x̂)). A gradient g that
    comes through a pooling is zero except at the largest value of each window, so both means are sums over
    pooled values only.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, running: Tensor, *options: Any) -> Any:
        eps, slope, pool = options
        x = x.permute(0, 2, 3, 1).contiguous()  # [n, H, W, C], as channels-last lies in memory
        sign = torch.where(weight < 0, -1.0, 1.0) if pool else torch.ones_like(weight)
        first, second, *pooled = _compiled(_gather if pool else _moments)(x, running, sign)
        largest, place = pooled or (x, x)
        count = x.numel() // x.shape[3]
        shift = first / count
        mean, variance = running + shift, (second / count - shift.square()).clamp(min=0)
        deviation = (variance + eps).sqrt()
        scale = weight / deviation
        out = _compiled(_affine)(largest, sign * mean, sign * scale, bias, slope)
        ctx.save_for_backward(x, largest, place, out, weight, mean, deviation, sign)
        ctx.slope, ctx.pool = slope, pool
        ctx.mark_non_differentiable(mean, variance)
        return out.permute(0, 3, 1, 2), mean, variance

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> Any:
        x, largest, place, out, weight, mean, deviation, sign = ctx.saved_tensors
        gradient = gradient.permute(0, 2, 3, 1).contiguous()
        of_bias, moment = _compiled(_sums)(gradient, largest, out, sign * mean, ctx.slope)
        of_weight = sign * moment / deviation
        count, scale = x.numel() // x.shape[3], weight / deviation
        slant = -scale * of_weight / (deviation * count)
        level = -scale * of_bias / count - slant * mean
        of_x = _compiled(_spread)(gradient, x, place, out, scale, slant, level, ctx.slope, ctx.pool)
        return of_x.permute(0, 3, 1, 2), of_weight, of_bias, None, None, None, None


def _windows(x: Float[Tensor, "n H W C"]) -> Float[Tensor, "n H/2 2 W/2 2 C"]:
    n, height, width, channels = x.shape
    return x.view(n, height // 2, 2, width // 2, 2, channels)


def _moments(
    x: Float[Tensor, "n H W C"], pilot: Float[Tensor, " C"], sign: Float[Tensor, " C"]
) -> tuple[Tensor, Tensor]:
    """Sums and sums of squares of ``x - pilot``; a pilot near the mean keeps small variances exact."""
    apart = x.float() - pilot
    return apart.sum((0, 1, 2)), apart.square().sum((0, 1, 2))


def _gather(
    x: Float[Tensor, "n H W C"], pilot: Float[Tensor, " C"], sign: Float[Tensor, " C"]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The `_moments`; and for each window its largest ``sign * x`` and the first place (0 to 3) that has it.

    Places have the activation's own type, since a loop over several types is not vectorised.
    """
    windows = _windows(x)
    parts = [windows[:, :, i, :, j].float() for i in (0, 1) for j in (0, 1)]
    apart = [part - pilot for part in parts]
    first = sum(apart[1:], start=apart[0]).sum((0, 1, 2))
    second = sum((part.square() for part in apart[1:]), start=apart[0].square()).sum((0, 1, 2))
    a, b, c, d = (part * sign for part in parts)
    upper, lower = torch.maximum(a, b), torch.maximum(c, d)
    largest = torch.maximum(upper, lower)
    place = torch.where(upper == largest, (a < largest).float(), 2 + (c < largest).float())
    return first, second, largest.to(x.dtype), place.to(x.dtype)


def _affine(
    x: Tensor, mean: Float[Tensor, " C"], scale: Float[Tensor, " C"], bias: Float[Tensor, " C"], slope: float
) -> Tensor:
    return leaky_relu((x.float() - mean) * scale + bias, slope).to(x.dtype)


def _before(gradient: Tensor, out: Tensor, slope: float) -> Tensor:
    """The gradient with respect to the input of the activation."""
    g = gradient.float()
    return torch.where(out.float() > 0, g, slope * g)


def _sums(
    gradient: Tensor, x: Tensor, out: Tensor, mean: Float[Tensor, " C"], slope: float
) -> tuple[Float[Tensor, " C"], Float[Tensor, " C"]]:
    """Sums of that gradient, and of that gradient times ``x - mean``."""
    g = _before(gradient, out, slope)
    return g.sum((0, 1, 2)), (g * (x.float() - mean)).sum((0, 1, 2))


def _spread(
    gradient: Tensor,
    x: Float[Tensor, "n H W C"],
    place: Tensor,
    out: Tensor,
    scale: Float[Tensor, " C"],
    slant: Float[Tensor, " C"],
    level: Float[Tensor, " C"],
    slope: float,
    pool: bool,
) -> Float[Tensor, "n H W C"]:
    """The gradient of x: through the largest of each window, and through the batch's mean and variance."""
    g = _before(gradient, out, slope) * scale
    if not pool:
        return (g + (level + slant * x.float())).to(x.dtype)
    here = torch.arange(4, dtype=x.dtype).view(2, 1, 2, 1)
    g = torch.where(place[:, :, None, :, None] == here, g[:, :, None, :, None], 0.0)
    return (g + (level + slant * _windows(x).float())).to(x.dtype).view(x.shape)


def _square(x: Tensor) -> Tensor:
    return x * x


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    # Compiled again for each shape, since loops over unknown sizes take twice as long. The bare function,
    # since older versions of torch cannot trace the check of shapes that pytest puts around it.
    return torch.compile(unwrap(function), dynamic=False)
