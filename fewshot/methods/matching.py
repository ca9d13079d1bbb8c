"""MatchingNet: attention over the supports."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from fewshot.core.errors import InputError


def matching(
    support: Float[Tensor, "B N K D"],
    query: Float[Tensor, "B M D"],
    *,
    support_mask: Bool[Tensor, "B N K"] | None = None,
    class_mask: Bool[Tensor, "B N"] | None = None,
    scale: float = 1.0,
    **_: object,
) -> Float[Tensor, "B M N"]:
    r"""Classify by attention over all supports: MatchingNet without full-context embeddings (Vinyals et al.,
    NIPS 2016).

    A class's probability is the attention that its supports receive, so a class with more supports has an
    advantage. The logits are log-probabilities.

    .. math::  a_{mik} = \frac{\exp(\sigma \, \hat q_m \cdot \hat s_{ik})}
                              {\sum_{jl} \exp(\sigma \, \hat q_m \cdot \hat s_{jl})}, \qquad
               \operatorname{logit}_{mi} = \log \textstyle\sum_k a_{mik}

    Called as all methods are, see `FewShotCall`.

    Args:
        scale: the factor of the cosines, :math:`\sigma`, above 0; default 1, as published. With a small one
            all supports of a class count alike, which suits few shots; with a large one the nearest support
            decides. With one support per class it does not change the predictions but their confidence,
            which is low at 1, as cosines differ by 2 at most.

    Raises:
        InputError: a scale of 0 or below.

    >>> support = torch.tensor([[[[1.0, 0.0]], [[0.0, 2.0]]]])
    >>> matching(support, torch.tensor([[[3.0, 4.0]]])).exp().round(decimals=2)
    tensor([[[0.4500, 0.5500]]])
    """
    if not scale > 0:
        raise InputError(f"scale: expected a number above 0, got {scale}")
    cosines = torch.einsum("bmd,bnkd->bmnk", normalize(query, dim=-1), normalize(support, dim=-1))
    scores = scale * cosines
    for mask in (support_mask, None if class_mask is None else class_mask.unsqueeze(-1)):
        if mask is not None:
            scores = scores.masked_fill(~mask.unsqueeze(1), -torch.inf)
    return scores.logsumexp(dim=-1) - scores.flatten(2).logsumexp(dim=-1, keepdim=True)
