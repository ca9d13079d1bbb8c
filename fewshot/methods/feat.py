"""FEAT: prototypes that attend to each other."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot, scaled_dot_product_attention

from fewshot.graph.vectors import normalize
from fewshot.methods.shared.fitting import fit_on_features
from fewshot.methods.shared.material import Material
from fewshot.methods.shared.nodes import mask_classes, supports_there, unit_variance


class SetAttention(nn.Module):
    r"""Self-attention over a set, with a residual and layer norm (Vaswani et al., NIPS 2017).

    .. math:: X' = \operatorname{LayerNorm}\!\left(X + \left[\operatorname{softmax}\!\left(
              \tfrac{X W_q^h (X W_k^h)^\top}{\sqrt D}\right) X W_v^h\right]_h W_o + b\right)

    Args:
        features: size D of the vectors, and of every head.
        heads: default 1.
        dropout: of what is added to X, in training; default 0.5.

    Shapes: ``[B, T, D]``, and which elements are attended to, bool ``[B, 1 or T, T]``, to ``[B, T, D]``.
    """

    def __init__(self, features: int, heads: int = 1, dropout: float = 0.5) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(features, heads * features, bias=False)
        self.key = nn.Linear(features, heads * features, bias=False)
        self.value = nn.Linear(features, heads * features, bias=False)
        self.out = nn.Linear(heads * features, features)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(features)

    def forward(
        self, x: Float[Tensor, "B T D"], mask: Bool[Tensor, "B _ T"] | None = None
    ) -> Float[Tensor, "B T D"]:
        query, key, value = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B, heads, T, D]
            for layer in (self.query, self.key, self.value)
        )
        every = None if mask is None else mask.unsqueeze(1).expand(-1, self.heads, x.shape[1], -1)
        heard = scaled_dot_product_attention(query, key, value, attn_mask=every)
        return self.norm(x + self.dropout(self.out(heard.transpose(1, 2).flatten(2))))


class FEAT(nn.Module):
    r"""Few-shot embedding adaptation with a transformer (Ye et al., CVPR 2020), on given features.

    With :math:`c_i` the mean of class i's normalised supports, of length about :math:`\sqrt D`:

    .. math::  \{c'_i\} = \operatorname{Attention}(\{c_i\}), \qquad
               \operatorname{logit}_{mi} = \cos(q_m, c'_i) / \tau

    Training adds the paper's contrast: attention among all images of each class, supports and queries,
    must give vectors whose mean is near the class's images and far from the other classes' ones.

    Args:
        features: size D.
        heads: of the attention; default 1.
        temperature: :math:`\tau`; default 0.1.
        balance: weight of the contrast in the loss; default 0.1.
        dropout: of the attention's output in training; default 0.5.

    Called as all methods are, see `FewShotCall`: support **[B, N, K, D]** and query **[B, M, D]** to logits
    **[B, M, N]**, each query on its own.

    >>> feat = FEAT(features=16).eval()
    >>> feat(torch.randn(2, 5, 1, 16), torch.randn(2, 15, 16)).shape
    torch.Size([2, 15, 5])
    """

    def __init__(
        self,
        features: int,
        heads: int = 1,
        temperature: float = 0.1,
        balance: float = 0.1,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.temperature, self.balance = temperature, balance
        self.attention = SetAttention(features, heads, dropout)

    def forward(
        self,
        support: Float[Tensor, "B N K D"],
        query: Float[Tensor, "B M D"],
        *,
        support_mask: Bool[Tensor, "B N K"] | None = None,
        class_mask: Bool[Tensor, "B N"] | None = None,
        **_: object,
    ) -> Float[Tensor, "B M N"]:
        there = supports_there(support, support_mask, class_mask)
        means = unit_variance(support, there).sum(2) / there.sum(2).clamp_min(1).unsqueeze(-1)  # [B, N, D]
        classes = self.attention(means, None if class_mask is None else class_mask.unsqueeze(1))
        return mask_classes(self._similarity(query, classes), class_mask)

    def losses(
        self,
        support: Float[Tensor, "B N K D"],
        query: Float[Tensor, "B M D"],
        labels: Int64[Tensor, "B M"],
        *,
        joint: bool = False,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "B M N"]]:
        """Cross-entropy and contrast of whole episodes, and the logits; ``joint`` changes nothing."""
        logits = self(support, query)
        loss = cross_entropy(logits.flatten(0, 1), labels.flatten())
        return loss + self.balance * self.contrast(support, query, labels), logits

    def contrast(
        self,
        support: Float[Tensor, "B N K D"],
        query: Float[Tensor, "B M D"],
        labels: Int64[Tensor, "B M"],
    ) -> Float[Tensor, ""]:
        """Cross-entropy of all images against each class's mean after attention within the class."""
        b, n, k, _ = support.shape
        images = unit_variance(torch.cat([support.flatten(1, 2), query], 1))  # [B, N·K + M, D]
        own = torch.arange(n, device=labels.device).repeat_interleave(k).expand(b, -1)
        classes = torch.cat([own, labels], 1)
        adapted = self.attention(images, classes.unsqueeze(2) == classes.unsqueeze(1))
        members = one_hot(classes, n).to(adapted.dtype)
        centres = members.transpose(1, 2) @ adapted  # sums, as their length does not matter
        return cross_entropy(self._similarity(images, centres).flatten(0, 1), classes.flatten())

    def _similarity(
        self, images: Float[Tensor, "B T D"], classes: Float[Tensor, "B N D"]
    ) -> Float[Tensor, "B T N"]:
        return normalize(images) @ normalize(classes).transpose(1, 2) / self.temperature


def make_feat(material: Material) -> FEAT:
    """FEAT, trained on the base classes' features."""
    return fit_on_features(material, FEAT, steps=600, lr=2e-4)
