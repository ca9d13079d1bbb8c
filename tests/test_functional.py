"""The mathematics of the class graph against loops in double precision and closed forms."""

import torch
from torch import Tensor

from fewshot.functional import collect, leave_one_out_cosines, normalize, pairwise_cosine, suppress

B, N, K, D = 2, 3, 4, 6


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_suppress_is_a_ridge_inverse_after_as_many_steps_as_dimensions() -> None:
    nodes, residuals, strength = random(B, N, D), random(B, 9, D, seed=1), torch.tensor(5.0).double()
    count = torch.full((B, 1, 1), 9.0).double()
    spread = residuals.transpose(1, 2) @ residuals / 9
    exact = torch.linalg.solve(torch.eye(D) + strength * spread, nodes.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(suppress(nodes, residuals, count, strength, steps=D), exact)
    error = [(suppress(nodes, residuals, count, strength, steps) - exact).norm() for steps in (1, 2, 4)]
    assert error[0] > error[1] > error[2]


def test_suppress_leaves_nodes_where_there_is_no_spread() -> None:
    nodes = random(B, N, D)
    ones = torch.ones(B, 1, 1).double()
    same = suppress(nodes, torch.zeros(B, 5, D).double(), ones, torch.tensor(20.0).double())
    torch.testing.assert_close(same, nodes)


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


def test_leave_one_out_cosines_against_a_loop() -> None:
    support, beside = normalize(random(B, N, K, D)), random(B, N, D, seed=1)
    own = torch.eye(N, dtype=torch.bool)[None, :, None]
    assignments = random(B, N, K, N, seed=2).softmax(-1)
    found = leave_one_out_cosines(support, assignments, None, own, beside)
    totals = collect(assignments, support, None) + beside
    for b in range(B):
        for i in range(N):
            for k in range(K):
                for c in range(N):
                    total = totals[b, c] - (assignments[b, i, k, c] * support[b, i, k] if c == i else 0)
                    expected = support[b, i, k] @ total / total.norm()
                    torch.testing.assert_close(found[b, i, k, c], expected)
