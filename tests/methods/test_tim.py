"""TIM's alternating updates against the paper's Proposition 1, sum by sum."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from fewshot.methods.tim import tim


def reference(support, query, shares, tau=15.0, lam=0.1, alpha=0.1, steps=150):
    """[N, K, D] and [M, D] to the posteriors [M, N]."""
    n, k, d = support.shape
    s = support.reshape(n * k, d) / np.linalg.norm(support.reshape(n * k, d), axis=1, keepdims=True)
    z = query / np.linalg.norm(query, axis=1, keepdims=True)
    y = np.eye(n)[np.arange(n * k) // k]
    w = np.stack([s[y[:, c] == 1].mean(0) for c in range(n)])

    def posterior(x):
        return softmax([-tau / 2 * np.sum((w[c] - x) ** 2) for c in range(n)])

    for _ in range(steps):
        p_s, p = np.stack([posterior(x) for x in s]), np.stack([posterior(x) for x in z])
        q = np.stack(
            [p[:, c] ** (1 + alpha) * np.sqrt(shares[c] / sum(p[:, c] ** (1 + alpha))) for c in range(n)], 1
        )
        q = q / q.sum(1, keepdims=True)
        ratio, new = len(s) / len(z), np.empty_like(w)
        for c in range(n):
            on_s = sum(y[i, c] * s[i] + p_s[i, c] * (w[c] - s[i]) for i in range(len(s)))
            on_q = sum(q[i, c] * z[i] + p[i, c] * (w[c] - z[i]) for i in range(len(z)))
            mass = lam / (1 + alpha) * y[:, c].sum() + ratio * q[:, c].sum()
            new[c] = (lam / (1 + alpha) * on_s + ratio * on_q) / mass
        w = new
    return np.stack([posterior(x) for x in z])


@pytest.mark.parametrize("shares", [None, [0.1, 0.5, 0.15, 0.25]])
def test_equals_the_papers_updates(episode, shares):
    known = None if shares is None else torch.tensor([shares] * 3, dtype=torch.float64)
    logits = tim(*episode, proportions=known, steps=12)
    expected = reference(*(x[0].numpy() for x in episode), shares or [0.25] * 4, steps=12)
    torch.testing.assert_close(logits[0].softmax(-1), torch.tensor(expected), atol=1e-8, rtol=1e-6)


def test_the_mutual_information_rises():
    generator = torch.Generator().manual_seed(0)
    support, query = (
        torch.randn(20, 5, 1, 16, generator=generator),
        torch.randn(20, 40, 16, generator=generator),
    )

    def information(steps):
        p = tim(support, query, steps=steps).softmax(-1)
        return torch.special.entr(p.mean(1)).sum(-1) - torch.special.entr(p).sum(-1).mean(1)

    start, middle, end = information(0), information(20), information(150)
    assert (start < middle).all()
    assert (middle < end).all()


def test_equal_proportions_are_what_it_assumes():
    torch.manual_seed(0)
    support, query = torch.randn(2, 4, 2, 8), torch.randn(2, 9, 8)
    torch.testing.assert_close(tim(support, query, proportions=torch.full((2, 4), 3.0)), tim(support, query))


def test_proportions_draw_the_posteriors_to_them():
    torch.manual_seed(0)
    support, query = torch.randn(8, 3, 1, 8), torch.randn(8, 60, 8)
    shares = torch.tensor([[0.7, 0.3, 0.0]]).expand(8, 3)
    logits = tim(support, query, proportions=shares)
    assert (logits[..., 2] == -torch.inf).all()
    torch.testing.assert_close(logits.softmax(-1).mean(1), shares, atol=0.12, rtol=0)
