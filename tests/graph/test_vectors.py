"""Masked softmax against its closed form."""

import pytest
import torch
from clusters import random

from fewshot.graph.vectors import masked_softmax

B, N, K, D = 2, 3, 4, 6


@pytest.mark.parametrize("n", [1, 5, 16, 17])
def test_masked_softmax_is_that_of_what_is_there(n: int) -> None:
    scores, mask = random(B, 7, n), random(B, 1, n, seed=1) > -0.5
    mask[..., 0] = True
    exact = scores.masked_fill(~mask, -torch.inf).softmax(-1)
    torch.testing.assert_close(masked_softmax(scores, mask), exact)
    torch.testing.assert_close(masked_softmax(scores[0, 0], mask[0, 0]), exact[0, 0])
