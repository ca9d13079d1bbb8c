"""Fixtures of the methods' tests: the episodes that they share, and modules as if trained."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

B, N, K, M, D = 3, 4, 5, 11, 8


@pytest.fixture
def episode() -> tuple[Tensor, Tensor]:
    """Supports **[3, 4, 5, 8]** and queries **[3, 11, 8]** around a centre per class, in float64."""
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    centres = noise(B, N, 1, D)
    return centres + noise(B, N, K, D), centres[:, torch.arange(M) % N, 0] + noise(B, M, D)


@pytest.fixture
def lively() -> Callable[[nn.Module], nn.Module]:
    """Puts a module into eval mode and float64, with weights and statistics as if trained: none near 0."""

    def lively(module: nn.Module) -> nn.Module:
        torch.manual_seed(0)
        for part in module.modules():
            if isinstance(part, nn.BatchNorm1d):
                for tensor in (part.weight.data, part.bias.data, part.running_mean, part.running_var):
                    tensor.uniform_(0.5, 1.5)
            if isinstance(part, nn.Linear):
                part.weight.data *= 3
        return module.eval().double()

    return lively
