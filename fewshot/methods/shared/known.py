"""What the methods with known classes share: edges along relations, class means, logits by cosine."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.graph.known import informative, standardise
from fewshot.graph.vectors import masked_softmax, normalize
from fewshot.methods.prototypes import SCALE
from fewshot.methods.shared.nodes import mask_classes, supports_there

SHARPNESS = 1.5  # of edges along standardised relations, which is that of the plain recipe of the class graph


def edges(relations: Tensor, sharpness: float | Tensor = SHARPNESS) -> Float[Tensor, "B N C"]:
    r"""How much each class listens to each known class; rows sum to 1, or are 0 if nothing is known.

    .. math:: A_{ic} = \operatorname{softmax}_c(t \, s_{ic})

    with s the relations, centred by row and in units of their spread over the episode, so that their scale
    and offset change nothing.

    Args:
        relations: ``[N, C]`` or ``[B, N, C]``, larger is nearer; NaN if nothing is known of a class, or to
            hide a known class from a class.
        sharpness: t; default 1.5.

    >>> edges(torch.tensor([[[0.0, 1.0], [5.0, 4.0]]]), 1.0)
    tensor([[[0.1192, 0.8808],
             [0.8808, 0.1192]]])
    """
    relations = relations if relations.dim() == 3 else relations[None]
    seen = ~relations.isnan()
    count = seen.sum(-1, keepdim=True).clamp_min(1)
    mean = relations.nan_to_num(0.0).sum(-1, keepdim=True) / count
    filled = torch.where(seen, relations, mean)
    says = informative(filled) & seen.any(-1)
    return masked_softmax(sharpness * standardise(filled, says), seen & says[..., None])


def messages(
    known: Float[Tensor, "C D"] | None,
    relations: Tensor | None,
    like: Float[Tensor, "B N D"],
    sharpness: float | Tensor = SHARPNESS,
) -> Float[Tensor, "B N D"]:
    """What the classes hear from known classes along `edges`; zero without relations.

    Args:
        known: prototypes of length 1.
        relations: see `edges`.
        like: the class means, whose shape and type the messages have.
        sharpness: of the edges.

    Raises:
        InputError: known classes without relations, or relations without known classes.
    """
    if known is None or relations is None:
        if known is not relations:
            raise InputError("known, relations: expected both or neither, got one of them")
        return torch.zeros_like(like)
    return (edges(relations.to(like.dtype), sharpness) @ known.to(like.dtype)).expand_as(like)


def class_means(
    support: Float[Tensor, "B N K D"],
    support_mask: Bool[Tensor, "B N K"] | None = None,
    class_mask: Bool[Tensor, "B N"] | None = None,
) -> tuple[Float[Tensor, "B N D"], Float[Tensor, "B N 1"]]:
    """Means of the normalised supports, and how many there are of each class; 0 for a class without.

    >>> class_means(torch.tensor([[[[3.0, 4.0], [0.0, 2.0]]]]))
    (tensor([[[0.3000, 0.9000]]]), tensor([[[2.]]]))
    """
    there = supports_there(support, support_mask, class_mask)
    vectors = normalize(support.masked_fill(~there[..., None], 0.0))
    count = there.sum(-1, keepdim=True).to(vectors.dtype)
    return vectors.sum(2) / count.clamp_min(1), count


def by_cosine(
    query: Float[Tensor, "B M D"],
    prototypes: Float[Tensor, "B N D"],
    class_mask: Bool[Tensor, "B N"] | None = None,
) -> Float[Tensor, "B M N"]:
    """10 times the cosines of queries and prototypes; -inf for classes that are padding."""
    return mask_classes(SCALE * normalize(query) @ normalize(prototypes).mT, class_mask)
