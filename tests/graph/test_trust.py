"""Messages between supports and classes against loops in double precision."""

import torch
from clusters import candidates, random

from fewshot.graph.trust import candidate_cosines, collect, leave_one_out_cosines
from fewshot.graph.vectors import normalize

B, N, K, D = 2, 3, 4, 6


def test_leave_one_out_cosines_against_a_loop() -> None:
    support, others = normalize(random(B, N, K, D)), random(B, N, D, seed=1)
    own = torch.eye(N, dtype=torch.bool)[None, :, None]
    assignments = random(B, N, K, N, seed=2).softmax(-1)
    found = leave_one_out_cosines(support, assignments, None, own, others)
    totals = collect(assignments, support, None) + others
    for b in range(B):
        for i in range(N):
            for k in range(K):
                for c in range(N):
                    total = totals[b, c] - (assignments[b, i, k, c] * support[b, i, k] if c == i else 0)
                    expected = support[b, i, k] @ total / total.norm()
                    torch.testing.assert_close(found[b, i, k, c], expected)


def test_candidate_cosines_are_entries_of_all_cosines(piece: None) -> None:
    support, prototypes, index = random(B, 7, K, D), random(B, 7, D, seed=1), candidates(B, 7, 3)
    every = candidate_cosines(support, prototypes, None)
    expected = every.gather(3, index[:, :, None].expand(-1, -1, K, -1))
    torch.testing.assert_close(candidate_cosines(support, prototypes, index), expected)


def test_collecting_from_candidates_is_collecting_with_zeros_elsewhere() -> None:
    """The sums, and their gradients."""
    support, index = random(B, 7, K, D), candidates(B, 7, 3)
    weights = random(B, 7, K, 3, seed=1).requires_grad_()
    support.requires_grad_()
    whole = torch.zeros(B, 7, K, 7).double().scatter(3, index[:, :, None].expand(-1, -1, K, -1), weights)
    few, all_ = collect(weights, support, index), collect(whole, support, None)
    torch.testing.assert_close(few, all_)
    slope = random(B, 7, D, seed=2)
    for a, b in zip(
        torch.autograd.grad((few * slope).sum(), (weights, support)),
        torch.autograd.grad((all_ * slope).sum(), (weights, support)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_leaving_one_out_among_candidates() -> None:
    """With all other classes as candidates, in any order, the cosines are those without candidates."""
    support, others, index = normalize(random(B, 7, K, D)), random(B, 7, D, seed=1), candidates(B, 7, 7)
    assignments = random(B, 7, K, 7, seed=2).softmax(-1)
    where = index[:, :, None].expand(-1, -1, K, -1)
    diagonal = torch.eye(7, dtype=torch.bool)[None, :, None]
    first = (torch.arange(7) == 0)[None, None, None]
    expected = leave_one_out_cosines(support, assignments, None, diagonal, others).gather(3, where)
    found = leave_one_out_cosines(support, assignments.gather(3, where), index, first, others)
    torch.testing.assert_close(found, expected)
