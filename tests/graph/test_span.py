"""The coordinates of the images' span."""

import pytest
import torch
from clusters import random
from torch import Tensor

from fewshot.graph.span import shrink
from fewshot.graph.vectors import normalize

B, N, K, D = 2, 3, 4, 6


def shrunk(support: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
    """Images, and their coordinates; both [B, R, *], and the coordinates are taken back."""
    x = torch.cat([support.flatten(1, 2), query], dim=1)
    own, others, back = shrink(support, query)
    assert own.shape[:3] == support.shape[:3]
    coordinates = torch.cat([own.flatten(1, 2), others], dim=1)
    torch.testing.assert_close(back(coordinates), x, atol=1e-5, rtol=0)
    return x, coordinates


def test_shrinking_keeps_inner_products_zeros_and_the_way_back() -> None:
    support, query = normalize(random(B, N, K, 60)), normalize(random(B, 9, 60, seed=1))
    support[0, 1, 2:], query[1, 4] = 0.0, 0.0
    x, coordinates = shrunk(support, query)
    assert coordinates.shape == (B, N * K + 9, N * K + 9)
    torch.testing.assert_close(coordinates @ coordinates.mT, x @ x.mT, atol=1e-13, rtol=0)
    assert (coordinates.norm(dim=-1) == 0).equal(x.norm(dim=-1) == 0)


@pytest.mark.parametrize("rank", [1, 2, 10])
def test_shrinking_images_that_are_alike(rank: int) -> None:
    few = normalize(random(B, rank, 640)).float()
    x, coordinates = shrunk(few[:, [0] * 5, None], few[:, torch.arange(75) % rank])
    torch.testing.assert_close(coordinates @ coordinates.mT, x @ x.mT, atol=5e-6, rtol=0)


@pytest.mark.parametrize("d", [2 * (N * K + 9) - 1, 300])
def test_nothing_is_shrunk_for_no_gain_or_at_the_cost_of_a_gradient(d: int) -> None:
    support, query = normalize(random(B, N, K, d)), normalize(random(B, 9, d, seed=1))
    query.requires_grad_(d == 300)
    own, others, back = shrink(support, query)
    assert own is support
    assert others is query
    assert back(query) is query
