"""Whether a backbone computes in bfloat16 or in float32."""

from typing import Literal

import torch

Precision = Literal["auto", "32-true", "bf16-mixed"]


def resolve(
    precision: Precision = "auto", device: str | torch.device = "cpu"
) -> Literal["32-true", "bf16-mixed"]:
    """The precision to compute in: ``auto`` is bfloat16 autocast if the device has it in hardware.

    That is AVX512-BF16 or AMX on a CPU, and compute capability 8.0 or more on an NVIDIA GPU; other devices
    emulate bfloat16, which is slower than float32.

    >>> resolve("32-true")
    '32-true'
    """
    if precision != "auto":
        return precision
    kind = torch.device(device).type
    if kind == "cuda":
        gains = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        gains = kind == "cpu" and (
            torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        )
    return "bf16-mixed" if gains else "32-true"


def autocast(device: str | torch.device, precision: Precision = "auto") -> torch.autocast:
    """The context in which a backbone computes on that device; it changes nothing for ``32-true``."""
    kind = torch.device(device).type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=resolve(precision, device) == "bf16-mixed")
