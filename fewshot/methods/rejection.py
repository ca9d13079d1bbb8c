"""Rules that reject a query by its logits for the episode's classes, each query on its own."""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from fewshot.methods.prototypes import SCALE, prototypes
from fewshot.methods.shared.open_set import OpenSet


def largest_probability(
    support: Float[Tensor, "B N K D"], query: Float[Tensor, "B M D"], **options: Any
) -> OpenSet:
    r"""Minus the largest probability (Hendrycks and Gimpel, *A baseline for detecting misclassified and
    out-of-distribution examples in neural networks*, ICLR 2017), of `prototypes`.

    Called as all methods are, see `FewShotCall`.

    >>> import torch
    >>> support = torch.tensor([[[[1.0, 0.0]], [[0.0, 2.0]]]])
    >>> largest_probability(support, torch.tensor([[[1.0, 1.0]]])).unknown
    tensor([[-0.5000]])
    """
    logits = prototypes(support, query, scale=SCALE, **options)
    return OpenSet(logits, -logits.softmax(-1).amax(-1))


def largest_cosine(
    support: Float[Tensor, "B N K D"], query: Float[Tensor, "B M D"], **options: Any
) -> OpenSet:
    r"""Minus the largest logit (Vaze et al., *Open-set recognition: a good closed-set classifier is all you
    need*, ICLR 2022), that is the largest cosine of `prototypes`.

    Called as all methods are, see `FewShotCall`.

    >>> import torch
    >>> support = torch.tensor([[[[1.0, 0.0]], [[0.0, 2.0]]]])
    >>> largest_cosine(support, torch.tensor([[[3.0, 4.0]]])).unknown
    tensor([[-8.]])
    """
    logits = prototypes(support, query, scale=SCALE, **options)
    return OpenSet(logits, -logits.amax(-1))


def energy(support: Float[Tensor, "B N K D"], query: Float[Tensor, "B M D"], **options: Any) -> OpenSet:
    r"""The energy, :math:`-\log \sum_i e^{\operatorname{logit}_i}` (Liu et al., *Energy-based
    out-of-distribution detection*, NeurIPS 2020), of `prototypes`.

    Called as all methods are, see `FewShotCall`.

    >>> import torch
    >>> support = torch.tensor([[[[1.0, 0.0]], [[0.0, 2.0]]]])
    >>> energy(support, torch.tensor([[[3.0, 4.0]]])).unknown.round(decimals=3)
    tensor([[-8.1270]])
    """
    logits = prototypes(support, query, scale=SCALE, **options)
    return OpenSet(logits, -logits.logsumexp(-1))
