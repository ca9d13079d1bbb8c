"""The yardstick: cosine to the mean of normalised supports."""

import math

import torch
from sklearn.metrics.pairwise import cosine_similarity
from torch.nn.functional import normalize

from fewshot.methods.prototypes import SCALE, Scale, cosines, prototypes


def test_equals_scikit_learns_cosine(episode):
    support, query = episode
    logits = prototypes(support, query, scale=SCALE)
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


def test_the_scale_follows_shots_and_ways_and_padding_counts_for_neither(episode):
    support, query = episode  # 4 classes, 5 shots
    scale = Scale(1.5, 0.3, -0.2)
    found = prototypes(support, query, scale=scale)
    expected = math.exp(1.5) * 5**0.3 * 0.8**-0.2
    torch.testing.assert_close(found, expected * cosines(support, query))
    mask = torch.ones(3, 4, 5, dtype=torch.bool)
    mask[:, 0, 1:] = mask[:, 1, 3:] = False  # 1, 3, 5 and 5 shots, the last ones of a class that is padding
    classes = torch.tensor([True, True, True, False]).expand(3, 4)
    found = prototypes(support, query, support_mask=mask, class_mask=classes, scale=scale)
    expected = math.exp(1.5) * 3**0.3 * 0.6**-0.2
    torch.testing.assert_close(found[..., :3], expected * cosines(support, query, mask)[..., :3])
    assert (found[..., 3] == -torch.inf).all()
