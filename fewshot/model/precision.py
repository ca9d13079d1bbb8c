"""Whether a backbone computes in bfloat16 or in float32, and in which memory layout: by measurement."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from fewshot.core.fastest import fastest

Precision = Literal["auto", "32-true", "bf16-mixed"]
GAIN = 1.2  # how many times as fast bfloat16 has to be, since it rounds
QUESTION, LAYOUT = "precision of convolutions", "memory layout of convolutions"


def resolve(
    precision: Precision = "auto", device: str | torch.device = "cpu"
) -> Literal["32-true", "bf16-mixed"]:
    """The precision to compute in: ``auto`` is bfloat16 autocast if that is faster there.

    On a CPU with instructions for bfloat16 (AVX512-BF16 or AMX), a convolution is timed once per processor,
    version of torch and number of threads, and the answer is kept in the cache folder: some of these
    processors are faster in bfloat16, others slower. An NVIDIA GPU computes in bfloat16
    from compute capability 8.0 on. Other devices emulate it, which is slower.

    >>> resolve("32-true")
    '32-true'
    """
    if precision != "auto":
        return precision
    kind = torch.device(device).type
    if kind == "cuda":
        gains = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        gains = kind == "cpu" and has and _measured(torch.get_num_threads()) == "bf16-mixed"
    return "bf16-mixed" if gains else "32-true"


def autocast(device: str | torch.device, precision: Precision = "auto") -> torch.autocast:
    """The context in which a backbone computes on that device; it changes nothing for ``32-true``."""
    kind = torch.device(device).type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=resolve(precision, device) == "bf16-mixed")


def layout(device: str | torch.device = "cpu") -> torch.memory_format:
    """The memory layout in which convolutions are fast: channels last, unless another is measured faster.

    As for `resolve`, the answer is kept in the cache folder. Results differ by rounding only.

    >>> layout("cuda")
    torch.channels_last
    """
    # A program that is traced is for other machines, and nothing can be timed while it is.
    elsewhere = torch.device(device).type != "cpu" or torch.compiler.is_compiling()
    last = elsewhere or _layout(torch.get_num_threads()) == "channels last"
    return torch.channels_last if last else torch.contiguous_format


@cache  # the file is read once per process
def _measured(threads: int) -> str:
    x, weight = _images()
    half, small = x.bfloat16(), weight.bfloat16()
    ways = {"32-true": _convolution(x, weight), "bf16-mixed": _convolution(half, small)}
    return fastest(QUESTION, ways, margin=GAIN)


@cache
def _layout(threads: int) -> str:
    dtype = torch.bfloat16 if resolve("auto", "cpu") == "bf16-mixed" else torch.float32
    x, weight = (part.to(dtype) for part in _images())
    first = _convolution(x.contiguous(), weight.contiguous())
    ways = {"channels last": _convolution(x, weight), "channels first": first}
    return fastest(f"{LAYOUT}, {str(dtype).removeprefix('torch.')}", ways, margin=GAIN)


def _convolution(x: Tensor, weight: Tensor) -> Callable[[], Tensor]:
    @torch.no_grad()
    def work() -> Tensor:
        with torch.autocast("cpu", enabled=False):  # or it would change what is timed
            return conv2d(x, weight, padding=1)

    return work


def _images() -> tuple[Tensor, Tensor]:
    """Maps of a middle block of the built-in backbones, and the weights of a convolution of theirs."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, 64, 42, 42, generator=generator).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(64, 64, 3, 3, generator=generator).contiguous(memory_format=torch.channels_last)
    return x, weight
