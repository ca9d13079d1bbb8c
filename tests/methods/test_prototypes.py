"""The yardstick: cosine to the mean of normalised supports."""

import torch
from sklearn.metrics.pairwise import cosine_similarity
from torch.nn.functional import normalize

from fewshot.methods.prototypes import SCALE, prototypes


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
    torch.testing.assert_close(found.double(), prototypes(support, query), atol=0.5, rtol=0)
