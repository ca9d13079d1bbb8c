"""PT-MAP against the paper's algorithm, one episode and one distance at a time."""

import numpy as np
import pytest
import torch

from fewshot.methods.pt_map import log_transport, pt_map


def prepare(x):
    x = np.sign(x) * np.abs(x) ** 0.5
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    x = x - x.mean(0)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def sinkhorn(cost, sizes, lam):
    plan = np.exp(-lam * cost)
    plan = plan / plan.sum()
    rows = np.zeros(len(plan))
    for _ in range(5000):
        if np.abs(rows - plan.sum(1)).max() <= 1e-14:
            break
        rows = plan.sum(1)
        plan = plan / rows[:, None]
        plan = plan * (sizes / plan.sum(0))
    return plan


def reference(support, query, shares, lam=10.0, rate=0.2, epochs=20):
    """[N, K, D] and [M, D] to the plan [M, N]."""
    n, k, d = support.shape
    s, z = prepare(support.reshape(n * k, d)).reshape(n, k, d), prepare(query)
    centres = s.mean(1)

    def transport():
        cost = np.array([[np.sum((x - c) ** 2) for c in centres] for x in z])
        return sinkhorn(cost, len(z) * np.array(shares), lam)

    for _ in range(epochs):
        plan = transport()
        estimate = [(s[c].sum(0) + plan[:, c] @ z) / (k + plan[:, c].sum()) for c in range(n)]
        centres = centres + rate * (np.stack(estimate) - centres)
    return transport()


@pytest.mark.parametrize("shares", [None, [0.1, 0.5, 0.15, 0.25]])
def test_equals_the_papers_algorithm(episode, shares):
    known = None if shares is None else torch.tensor([shares] * 3, dtype=torch.float64)
    logits = pt_map(*episode, proportions=known, tolerance=1e-14, iterations=5000)
    expected = reference(*(x[0].numpy() for x in episode), shares or [0.25] * 4)
    torch.testing.assert_close(logits[0].exp(), torch.tensor(expected), atol=1e-8, rtol=1e-6)


def test_the_plan_has_the_sums_asked_for():
    generator = torch.Generator().manual_seed(0)
    scores = -20 * torch.rand(2, 30, 5, generator=generator)
    sizes = 30 * torch.tensor([[0.2, 0.2, 0.2, 0.2, 0.2], [0.6, 0.3, 0.1, 0.0, 0.0]])
    plan = log_transport(scores, torch.ones(2, 30, 1), sizes, 1e-6, 1000).exp()
    torch.testing.assert_close(plan.sum(2), torch.ones(2, 30))
    torch.testing.assert_close(plan.sum(1), sizes, atol=1e-3, rtol=0)


def test_equal_shares_overrule_what_looks_nearest():
    support = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    scores = -10 * torch.cdist(torch.tensor([[[1.0, 0.1], [1.0, 0.5]]]), support[:, :, 0]).square()
    assert (scores.argmax(-1) == 0).all()
    plan = log_transport(scores, torch.ones(1, 2, 1), torch.ones(1, 2), 1e-6, 1000)
    assert plan.argmax(-1).tolist() == [[0, 1]]


def test_a_class_without_a_share_gets_no_query():
    torch.manual_seed(0)
    support, query = torch.randn(2, 3, 1, 8), torch.randn(2, 12, 8)
    shares = torch.tensor([[0.5, 0.5, 0.0]] * 2)
    logits = pt_map(support, query, proportions=shares)
    assert (logits[..., 2] == -torch.inf).all()
    torch.testing.assert_close(logits.exp().sum(1), 12 * shares, atol=1e-3, rtol=0)


def test_a_lone_query_stays_undecided_with_equal_shares():
    torch.manual_seed(0)
    logits = pt_map(torch.randn(1, 4, 1, 8), torch.randn(1, 1, 8))
    torch.testing.assert_close(logits.exp(), torch.full((1, 1, 4), 0.25))
