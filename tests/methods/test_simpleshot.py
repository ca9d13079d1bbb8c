"""SimpleShot: nearest mean of normalised features, the mean left as long as it is."""

import torch
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import normalize

from fewshot.methods.prototypes import prototypes
from fewshot.methods.simpleshot import simpleshot


def test_is_nearest_centroid_on_normalised_features(episode):
    support, query = episode
    predicted = simpleshot(support, query).argmax(dim=-1)
    labels = torch.arange(4).repeat_interleave(5).numpy()
    for b in range(3):
        rule = NearestCentroid().fit(normalize(support[b].flatten(0, 1).numpy()), labels)
        assert predicted[b].tolist() == rule.predict(normalize(query[b].numpy())).tolist()


def test_the_mean_is_not_normalised_again():
    support = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]], [[-1.0, 0.0], [-2.0, 0.0]]]])
    logits = simpleshot(support, torch.tensor([[[0.0, 3.0]]]))
    torch.testing.assert_close(logits, torch.tensor([[[-5 * 0.5, -5 * 2.0]]]))  # means (½, ½) and (−1, 0)


def test_with_one_support_a_class_the_probabilities_are_the_prototypes(episode):
    support, query = episode
    one = support[:, :, :1]
    expected = prototypes(one, query, scale=10.0).softmax(-1)
    torch.testing.assert_close(simpleshot(one, query).softmax(-1), expected)


def test_the_scale_of_each_feature_vector_changes_nothing(episode):
    support, query = episode
    longer = support * torch.rand(3, 4, 5, 1, generator=torch.Generator().manual_seed(1)).add(0.5)
    torch.testing.assert_close(simpleshot(longer, 7 * query), simpleshot(support, query))
