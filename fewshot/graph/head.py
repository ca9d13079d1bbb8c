"""The prototype head: from queries and prototypes to logits."""

import math

from jaxtyping import Float
from torch import Tensor

from fewshot.graph.operator import Operator, scalar
from fewshot.graph.vectors import normalize


class PrototypeHead(Operator):
    r"""Scaled cosine to the classes' prototypes (after Gidaris and Komodakis, CVPR 2018).

    .. math:: \operatorname{logit}_{mi} = \sigma \; \hat q_m \cdot \hat p_i + b_i

    Args:
        scale: where the learned scale :math:`\sigma` starts; default 10.

    Shapes: query **[B, M, D]**, prototypes **[B, N, D]**, bias **[B, N]** or None; logits **[B, M, N]**.

    >>> import torch
    >>> head = PrototypeHead(scale=10.0)
    >>> prototypes = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])
    >>> head(torch.tensor([[[3.0, 4.0]]]), prototypes).detach().round(decimals=3)
    tensor([[[6., 8.]]])
    """

    def __init__(self, scale: float = 10.0) -> None:
        super().__init__()
        self.log_scale = scalar(math.log(scale))

    def forward(
        self,
        query: Float[Tensor, "B M D"],
        prototypes: Float[Tensor, "B N D"],
        bias: Float[Tensor, "B N"] | None = None,
    ) -> Float[Tensor, "B M N"]:
        return self.scores(normalize(query), normalize(prototypes), bias)

    def scores(
        self,
        query: Float[Tensor, "B M D"],
        prototypes: Float[Tensor, "B N D"],
        bias: Float[Tensor, "B N"] | None = None,
    ) -> Float[Tensor, "B M N"]:
        """The same, of vectors whose length is 1 already."""
        logits = self.log_scale.exp() * (query @ prototypes.transpose(1, 2))
        return logits if bias is None else logits + bias[:, None]
