"""The mean cosine between supports against a loop."""

import torch
from clusters import random

from fewshot.graph.handicap import pairwise_cosine
from fewshot.graph.vectors import normalize

B, N, K, D = 2, 3, 4, 6


def test_pairwise_cosine_is_the_mean_over_pairs() -> None:
    support = normalize(random(B, N, K, D))
    weight = torch.ones(B, N, K).double()
    weight[0, 0, 2:] = 0
    found = pairwise_cosine(support, weight)
    for b in range(B):
        for i in range(N):
            there = [k for k in range(K) if weight[b, i, k]]
            pairs = [support[b, i, k] @ support[b, i, m] for k in there for m in there if k != m]
            torch.testing.assert_close(found[b, i], torch.stack(pairs).mean())


def test_pairwise_cosine_does_not_depend_on_the_number_of_supports() -> None:
    support = normalize(random(1, 1, 2, D)).repeat(1, 2, 1, 1)
    weight = torch.ones(1, 2, 2).double()
    torch.testing.assert_close(*pairwise_cosine(support, weight)[0])
