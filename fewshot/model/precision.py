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
IMAGES = {"cpu": 8, "cuda": 256}  # that are timed; fewer leave most of a GPU idle
QUESTION, LAYOUT = "precision of convolutions", "memory layout of convolutions"


def resolve(
    precision: Precision = "auto", device: str | torch.device = "cpu"
) -> Literal["32-true", "bf16-mixed"]:
    """The precision to compute in: ``auto`` is bfloat16 autocast if that is faster there.

    On a CPU with instructions for bfloat16 (AVX512-BF16 or AMX) and on an NVIDIA GPU that has them (compute
    capability 8.0 and later), a convolution is timed once per processor or GPU, version of torch and number
    of threads, and the answer is kept in the cache folder: some of these are faster in bfloat16, others
    slower. Other devices compute in float32.

    >>> resolve("32-true")
    '32-true'
    """
    if precision != "auto":
        return precision
    gains = _has_bfloat16(device) and _measured(str(device), torch.get_num_threads()) == "bf16-mixed"
    return "bf16-mixed" if gains else "32-true"


def autocast(device: str | torch.device, precision: Precision = "auto") -> torch.autocast:
    """The context in which a backbone computes on that device; it changes nothing for ``32-true``."""
    kind = torch.device(device).type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=resolve(precision, device) == "bf16-mixed")


def layout(device: str | torch.device = "cpu") -> torch.memory_format:
    """The memory layout in which convolutions are fast: channels last, unless another is measured faster.

    As for `resolve`, the answer is kept in the cache folder. Results differ by rounding only.

    >>> layout("meta")
    torch.channels_last
    """
    # A program that is traced is for other machines, and nothing can be timed while it is.
    elsewhere = torch.device(device).type not in ("cpu", "cuda") or torch.compiler.is_compiling()
    last = elsewhere or _layout(str(device), torch.get_num_threads()) == "channels last"
    return torch.channels_last if last else torch.contiguous_format


def _has_bfloat16(device: str | torch.device) -> bool:
    """Whether a device has instructions for bfloat16; where they are emulated, it is slower."""
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return kind == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@cache  # the file is read once per process
def _measured(device: str, threads: int) -> str:
    ways = {
        "32-true": _convolution(device, torch.float32),
        "bf16-mixed": _convolution(device, torch.bfloat16),
    }
    return fastest(QUESTION, ways, margin=GAIN, device=device)


@cache
def _layout(device: str, threads: int) -> str:
    dtype = torch.bfloat16 if resolve("auto", device) == "bf16-mixed" else torch.float32
    first = _convolution(device, dtype, torch.contiguous_format)
    ways = {"channels last": _convolution(device, dtype), "channels first": first}
    return fastest(f"{LAYOUT}, {str(dtype).removeprefix('torch.')}", ways, margin=GAIN, device=device)


def _convolution(
    device: str, dtype: torch.dtype, memory_format: torch.memory_format = torch.channels_last
) -> Callable[[], Tensor]:
    """A convolution of a middle block of the built-in backbones, on maps that its first call makes."""

    @cache
    def maps() -> list[Tensor]:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(IMAGES[torch.device(device).type], 64, 42, 42, generator=generator)
        weight = torch.randn(64, 64, 3, 3, generator=generator)
        return [part.to(device, dtype).contiguous(memory_format=memory_format) for part in (x, weight)]

    @torch.no_grad()
    def work() -> Tensor:
        with torch.autocast(torch.device(device).type, enabled=False):  # or it would change what is timed
            x, weight = maps()
            return conv2d(x, weight, padding=1)

    return work
