"""What holds for every inductive method that is untrained or fitted in closed form."""

import pytest
import torch

from fewshot.methods.logistic_regression import logistic_regression
from fewshot.methods.matching import matching
from fewshot.methods.nearest_centroid import nearest_centroid
from fewshot.methods.niw import NIW
from fewshot.methods.simpleshot import simpleshot

B, N, K, M, D = 3, 4, 5, 6, 8
METHODS = {
    "simpleshot": simpleshot,
    "nearest-centroid": nearest_centroid,
    "matching": matching,
    "logistic-regression": logistic_regression,
    "niw": NIW(torch.zeros(D), torch.diag(torch.linspace(0.5, 2.0, D)), kappa=0.5, nu=D + 3.0),
}
close = {"atol": 1e-4, "rtol": 1e-4}


@pytest.fixture(params=METHODS.values(), ids=METHODS.keys())
def method(request):
    return request.param


@pytest.fixture
def episode():
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(B, N, 1, D, generator=generator)
    support = centres + torch.randn(B, N, K, D, generator=generator)
    return support, torch.randn(B, M, D, generator=generator)


def test_a_querys_logits_do_not_depend_on_the_other_queries(method, episode):
    support, query = episode
    alone = torch.cat([method(support, query[:, m : m + 1]) for m in range(M)], dim=1)
    torch.testing.assert_close(method(support, query), alone, **close)
    beside_nan = query.clone()
    beside_nan[:, 1] = torch.nan
    others = [m for m in range(M) if m != 1]
    torch.testing.assert_close(method(support, beside_nan)[:, others], alone[:, others], **close)


def test_queries_permuted_permute_the_logits(method, episode):
    support, query = episode
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(method(support, query[:, order]), method(support, query)[:, order], **close)


def test_classes_permuted_permute_the_logits(method, episode):
    support, query = episode
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(method(support[:, order], query), method(support, query)[..., order], **close)


def test_the_order_of_a_classs_supports_changes_nothing(method, episode):
    support, query = episode
    torch.testing.assert_close(method(support.flip(2), query), method(support, query), **close)


def test_a_batch_equals_one_by_one(method, episode):
    support, query = episode
    single = torch.cat([method(support[b : b + 1], query[b : b + 1]) for b in range(B)])
    torch.testing.assert_close(method(support, query), single, **close)


@pytest.mark.parametrize("rubbish", [1e6, torch.nan])
def test_padded_equals_unpadded(method, episode, rubbish):
    support, query = episode
    support_mask = torch.ones(B, N, K, dtype=torch.bool)
    support_mask[:, :, 3:] = False
    class_mask = torch.tensor([[True, True, True, False]] * B)
    padded = support.clone()
    padded[:, :, 3:] = rubbish
    padded[:, 3] = rubbish
    logits = method(padded, query, support_mask=support_mask, class_mask=class_mask)
    torch.testing.assert_close(logits[..., :3], method(support[:, :3, :3], query), **close)
    assert (logits[..., 3] == -torch.inf).all()
    without_shots = method(padded[:, :, :3], query, class_mask=class_mask)
    torch.testing.assert_close(without_shots, logits, **close)


def test_two_classes(method, episode):
    support, query = episode
    logits = method(support[:, :2], query)
    assert logits.shape == (B, M, 2)
    assert logits.isfinite().all()


def test_ignores_what_only_graphs_use(method, episode):
    support, query = episode
    told = method(support, query, joint=True, query_mask=None, proportions=torch.full((B, N), 0.25))
    assert torch.equal(told, method(support, query))
