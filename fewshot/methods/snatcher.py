"""SnaTCHer: queries of unknown classes disturb the transformation of a set of prototypes."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from fewshot.methods.feat import FEAT, make_feat
from fewshot.methods.shared.material import Material
from fewshot.methods.shared.nodes import supports_there, unit_variance
from fewshot.methods.shared.open_set import OpenSet

PIECE = 32  # queries at a time


class SnaTCHer(nn.Module):
    r"""Transformation consistency of a set of prototypes (SnaTCHer-F; Jeong et al., *Few-shot open-set
    recognition by transformation consistency*, CVPR 2021), on FEAT's transformation f.

    A query q takes the place of the prototype of its nearest class; if it is of that class, the set is
    transformed much as before:

    .. math::
        s = \textstyle\sum_i \lVert f(\{c_1, \dots, q, \dots, c_N\})_i - f(\{c_1, \dots, c_N\})_i \rVert^2

    Args:
        feat: trained.

    Called as all methods are, see `FewShotCall`: each query on its own.

    >>> out = SnaTCHer(FEAT(features=16).eval())(torch.randn(2, 5, 1, 16), torch.randn(2, 15, 16))
    >>> out.logits.shape, out.unknown.shape
    (torch.Size([2, 15, 5]), torch.Size([2, 15]))
    """

    def __init__(self, feat: FEAT) -> None:
        super().__init__()
        self.feat = feat

    def forward(
        self,
        support: Float[Tensor, "B N K D"],
        query: Float[Tensor, "B M D"],
        *,
        support_mask: Bool[Tensor, "B N K"] | None = None,
        class_mask: Bool[Tensor, "B N"] | None = None,
        **_: object,
    ) -> OpenSet:
        there = supports_there(support, support_mask, class_mask)
        means = unit_variance(support, there).sum(2) / there.sum(2).clamp_min(1).unsqueeze(-1)
        real = there.any(-1)
        logits = self.feat(support, query, support_mask=support_mask, class_mask=class_mask)
        usual = self.feat.attention(means, None if class_mask is None else class_mask.unsqueeze(1))
        parts = zip(query.split(PIECE, 1), logits.argmax(-1).split(PIECE, 1), strict=True)
        moved = [self._moved(means, unit_variance(some), place, usual, real) for some, place in parts]
        return OpenSet(logits, torch.cat(moved, 1))

    def _moved(
        self, means: Tensor, query: Tensor, place: Tensor, usual: Tensor, real: Tensor
    ) -> Float[Tensor, "B m"]:
        b, m, d = query.shape
        n = means.shape[1]
        sets = means[:, None].expand(-1, m, -1, -1)
        sets = sets.scatter(2, place[..., None, None].expand(-1, -1, 1, d), query[:, :, None])  # [B, m, N, D]
        mask = real[:, None, None].expand(-1, m, -1, -1).flatten(0, 1)  # [B·m, 1, N]
        found = self.feat.attention(sets.flatten(0, 1), mask).view(b, m, n, d)
        return ((found - usual[:, None]).square().sum(-1) * real[:, None]).sum(-1)


def make_snatcher(material: Material) -> SnaTCHer:
    """SnaTCHer on a FEAT trained on the base classes' features."""
    return SnaTCHer(make_feat(material))
