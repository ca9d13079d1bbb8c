"""Sharing queries out among classes whose shares are known."""

import pytest
import torch

from fewshot.graph.coupling import FIRST, OVER, ROUNDS, assign, shared_out


@pytest.mark.parametrize("spread", [1.0, 30.0, 300.0])
def test_assignment_is_over_relaxed_sinkhorn_in_logarithms(spread: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = spread * torch.randn(3, 12, 4, generator=generator, dtype=torch.float64)
    alive = torch.tensor([[True, True, True, True], [True, False, True, True], [False, True, True, False]])
    expected = 12 * alive / alive.sum(1, keepdim=True)
    half = torch.full((3, 1), 0.5, dtype=torch.float64)  # below 1, so that nothing is put right afterwards
    there = logits.masked_fill(~alive[:, None], -torch.inf)
    offset = torch.zeros(3, 4, dtype=torch.float64)
    for step in range(ROUNDS):
        mass = (there + offset[:, None]).softmax(-1).sum(1)
        target = half * (offset - ((mass + 1e-6) / (expected + 1e-6)).clamp_min(1e-9).log())
        offset = offset + (1.0 if step < FIRST else OVER) * (target - offset)
    exact = (there + offset[:, None]).softmax(-1).clamp_min(1e-12).log()
    found = assign(logits, alive, torch.ones(3, 12, 1, dtype=torch.float64), expected, half)
    torch.testing.assert_close(found, exact, atol=1e-9, rtol=0)


def test_classes_that_cannot_occur_get_nothing_of_a_query_however_far_ahead_they_are() -> None:
    logits, alive = torch.tensor([[[1e4, 0.0, 1.0]]]), torch.tensor([[False, True, True]])
    found = shared_out(logits, torch.tensor([[1e4, 1.0, 0.0]]), alive)
    torch.testing.assert_close(found, torch.tensor([[[0.0, 0.5, 0.5]]]))


@pytest.mark.parametrize("ahead", [10.0, 400.0])
def test_gradients_are_finite_however_sure_the_queries_are(ahead: float) -> None:
    logits = torch.tensor([[[ahead + number, 0.0] for number in range(4)]], requires_grad=True)
    alive, expected = torch.ones(1, 2).bool(), torch.tensor([[2.0, 2.0]])
    found = assign(logits, alive, torch.ones(1, 4, 1), expected, torch.ones(1, 1))
    torch.testing.assert_close(found.exp().sum(1), expected)
    found.sum().backward()
    assert logits.grad.isfinite().all()
