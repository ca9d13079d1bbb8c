"""What a rule for "none of these" returns, and Adam on many episodes at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class OpenSet(NamedTuple):
    """An answer that may be "none of these".

    ``logits`` **[B, M, N]** of the episode's classes; ``unknown`` **[B, M]**, larger if a query is more
    likely of none of them.
    """

    logits: Float[Tensor, "B M N"]
    unknown: Float[Tensor, "B M"]


def adam(loss: Callable[..., Tensor], start: Sequence[Tensor], rate: float, steps: int) -> list[Tensor]:
    """Minimise a loss by Adam (Kingma and Ba, ICLR 2015), also if no gradient is kept otherwise.

    Adam treats each number on its own: a sum over episodes is minimised in each as if it were alone.

    Args:
        loss: of tensors like those of ``start``, to a number.
        start: where it begins.
        rate: learning rate.
        steps: how many.

    >>> [x] = adam(lambda x: (x - 3).square().sum(), [torch.zeros(2)], rate=0.1, steps=200)
    >>> x.round(decimals=1)
    tensor([3., 3.])
    """
    with torch.enable_grad():
        parameters = [x.detach().clone().requires_grad_() for x in start]
        optimizer = torch.optim.Adam(parameters, rate)
        for _step in range(steps):
            for parameter, gradient in zip(
                parameters, torch.autograd.grad(loss(*parameters), parameters), strict=True
            ):
                parameter.grad = gradient
            optimizer.step()
    return [parameter.detach() for parameter in parameters]
