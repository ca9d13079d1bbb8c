"""alpha-TIM's written-out gradient and Adam against automatic ones."""

import pytest
import torch
from torch.nn.functional import normalize

from fewshot.core.errors import InputError
from fewshot.methods.alpha_tim import alpha_tim


def tsallis(p, alpha):
    return (1 - (p**alpha).sum(-1)) / (alpha - 1)


def shannon(p, _alpha):
    return -(p * p.log()).sum(-1)


def reference(support, query, entropy, alpha, rate, steps):
    """One episode, [N, K, D] and [M, D], to posteriors [M, N]; the loss as the paper writes it."""
    n, k, _ = support.shape
    s, z = normalize(support, dim=-1).flatten(0, 1), normalize(query, dim=-1)
    labels = torch.arange(n).repeat_interleave(k)
    w = normalize(support, dim=-1).mean(1).clone().requires_grad_()
    adam = torch.optim.Adam([w], lr=rate)

    def posteriors(x):
        return (-15 / 2 * torch.cdist(x, w).square()).softmax(-1)

    for _ in range(steps):
        right = posteriors(s)[torch.arange(n * k), labels]
        p = posteriors(z)
        loss = -right.log().mean() - entropy(p.mean(0), alpha) + entropy(p, alpha).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    return posteriors(z).detach()


@pytest.mark.parametrize("alpha", [1.5, 2.0, 7.0])
def test_equals_automatic_gradients(episode, alpha):
    options = {"alpha": alpha, "rate": 0.01, "steps": 40}
    logits = alpha_tim(*episode, **options)[0]
    expected = reference(*(x[0] for x in episode), tsallis, **options)
    torch.testing.assert_close(logits.softmax(-1), expected, atol=1e-7, rtol=1e-6)


def test_towards_alpha_1_the_entropies_are_shannons(episode):
    options = {"alpha": 1 + 1e-7, "rate": 0.01, "steps": 40}
    logits = alpha_tim(*episode, **options)[0]
    expected = reference(*(x[0] for x in episode), shannon, **options)
    torch.testing.assert_close(logits.softmax(-1), expected, atol=1e-5, rtol=1e-4)


def test_without_steps_it_is_the_nearest_class_mean(episode):
    support, query = (normalize(x, dim=-1) for x in episode)
    logits = alpha_tim(support, query, steps=0)
    distances = torch.cdist(query, support.mean(2)).square()
    torch.testing.assert_close(logits.softmax(-1), (-7.5 * distances).softmax(-1))


def test_alpha_out_of_range():
    with pytest.raises(InputError, match="alpha: expected above 1"):
        alpha_tim(torch.randn(1, 2, 1, 4), torch.randn(1, 3, 4), alpha=1.0)
