"""The class graph after a power transform of the features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jaxtyping import Float
from torch import Tensor

POWER = 0.7  # chosen on validation classes


def signed_power(x: Float[Tensor, "*batch D"], power: float) -> Float[Tensor, "*batch D"]:
    """``sign(x) |x|^power``, of features minus the base mean; after Hu et al. (2021), whose are from 0 up.

    >>> import torch
    >>> signed_power(torch.tensor([4.0, -9.0]), 0.5)
    tensor([ 2., -3.])
    """
    return x.sign() * x.abs() ** power


def after_power(graph: Callable[..., Any], power: float = POWER) -> Callable[..., Any]:
    """The call of a class graph, on power-transformed features.

    The transform makes large features smaller beside the others. It goes by single features, so a rotation of
    all of them matters to it, as it does not to the graph alone: that is why it stands before the graph.

    Args:
        graph: a `ClassGraph`, or any module with its call.
        power: default 0.7.

    >>> import torch
    >>> from fewshot import ClassGraph
    >>> support, query = torch.randn(1, 5, 1, 16), torch.randn(1, 9, 16)
    >>> after_power(ClassGraph.pretrained())(support, query, joint=True).logits.shape
    torch.Size([1, 9, 5])
    """

    def call(support: Tensor, query: Tensor, **options: Any) -> Any:
        return graph(signed_power(support, power), signed_power(query, power), **options)

    return call
