"""What the operators of the graph have in common: each holds a few scalars, and shows them."""

import torch
from torch import Tensor, nn


def scalar(value: float | list[float]) -> nn.Parameter:
    """A learnable number, or a few.

    >>> scalar(0.5)
    Parameter containing:
    tensor(0.5000, requires_grad=True)
    """
    return nn.Parameter(torch.tensor(value))


def shown(module: nn.Module) -> str:
    """The module's own scalars in words, as its ``repr`` shows them.

    >>> module = nn.Module()
    >>> module.doubt = scalar([-1.0, 2.0])
    >>> shown(module)
    'doubt=[-1, 2]'
    """

    def words(x: Tensor) -> str:
        numbers = [f"{value:.4g}" for value in x.detach().flatten().tolist()]
        return numbers[0] if x.dim() == 0 else f"[{', '.join(numbers)}]"

    return ", ".join(f"{name}={words(x)}" for name, x in module.named_parameters(recurse=False))


class Operator(nn.Module):
    """A module whose ``repr`` shows its scalars."""

    def extra_repr(self) -> str:
        return shown(self)
