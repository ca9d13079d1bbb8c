"""The yardstick: cosine to the mean of normalised supports."""

import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity
from torch.nn.functional import normalize

from fewshot.methods.prototypes import SCALE, prototypes


@pytest.fixture
def episode():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 4, 5, 8, generator=generator), torch.randn(3, 6, 8, generator=generator)


def test_equals_scikit_learns_cosine(episode):
    support, query = episode
    logits = prototypes(support, query)
    for b in range(3):
        means = normalize(support[b], dim=-1).mean(dim=1)
        expected = torch.from_numpy(cosine_similarity(query[b].numpy(), means.numpy()))
        torch.testing.assert_close(logits[b] / SCALE, expected)


def test_the_scale_of_each_feature_vector_changes_nothing(episode):
    support, query = episode
    longer = support * torch.rand(3, 4, 5, 1).add(0.5)
    torch.testing.assert_close(prototypes(longer, 7 * query), prototypes(support, query))


def test_short_features_in_half_precision(episode):
    support, query = episode
    found = prototypes(support.half(), (2e-5 * query).half())
    torch.testing.assert_close(found.float(), prototypes(support, query), atol=0.5, rtol=0)


def test_padded_equals_unpadded(episode):
    support, query = episode
    support_mask = torch.ones(3, 4, 5, dtype=torch.bool)
    support_mask[:, :, 3:] = False
    class_mask = torch.tensor([[True, True, True, False]] * 3)
    garbage = support.clone()
    garbage[:, :, 3:] = 1e6
    garbage[:, 3] = torch.nan
    padded = prototypes(garbage, query, support_mask=support_mask, class_mask=class_mask)
    torch.testing.assert_close(padded[..., :3], prototypes(support[:, :3, :3], query))
    assert (padded[..., 3] == -torch.inf).all()


def test_ignores_what_only_graphs_use(episode):
    support, query = episode
    told = prototypes(
        support, query, joint=True, evidence=torch.ones(3, 4), proportions=torch.full((3, 4), 0.25)
    )
    assert torch.equal(told, prototypes(support, query))
