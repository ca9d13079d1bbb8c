"""MatchingNet: attention over all supports."""

import math

import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity

from fewshot.core.errors import InputError
from fewshot.methods.matching import matching
from fewshot.methods.prototypes import prototypes


@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_equals_the_papers_formula(episode, scale):
    support, query = episode
    logits = matching(support, query, scale=scale)
    for b in range(3):
        for m in range(11):
            weights = [
                [
                    math.exp(scale * cosine_similarity(query[b, m][None], support[b, i, k][None]).item())
                    for k in range(5)
                ]
                for i in range(4)
            ]
            total = sum(map(sum, weights))
            expected = torch.tensor([math.log(sum(row) / total) for row in weights], dtype=torch.float64)
            torch.testing.assert_close(logits[b, m], expected)


def test_probabilities_sum_to_one(episode):
    torch.testing.assert_close(matching(*episode).exp().sum(dim=-1), torch.ones(3, 11).double())


def test_with_one_support_a_class_it_is_the_prototypes(episode):
    support, query = episode
    one = support[:, :, :1]
    expected = prototypes(one, query, scale=10.0).log_softmax(dim=-1)
    torch.testing.assert_close(matching(one, query, scale=10.0), expected)


def test_a_large_scale_is_the_nearest_support(episode):
    support, query = episode
    cosines = torch.cosine_similarity(query[:, :, None, None], support[:, None], dim=-1)
    nearest = cosines.amax(dim=-1).argmax(dim=-1)
    assert torch.equal(matching(support, query, scale=1e5).argmax(dim=-1), nearest)


def test_a_class_of_more_supports_starts_ahead():
    support = torch.ones(1, 2, 3, 2)
    there = torch.tensor([[[True, True, True], [True, False, False]]])
    logits = matching(support, torch.ones(1, 1, 2), support_mask=there)
    torch.testing.assert_close(logits.exp(), torch.tensor([[[0.75, 0.25]]]))


def test_refuses_a_scale_that_is_not_above_0(episode):
    with pytest.raises(InputError, match=r"^scale: expected a number above 0, got 0"):
        matching(*episode, scale=0.0)
