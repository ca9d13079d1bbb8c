"""Nearest class mean: scikit-learn's rule."""

import torch
from sklearn.neighbors import NearestCentroid

from fewshot.methods.nearest_centroid import nearest_centroid


def test_predicts_what_scikit_learn_predicts(episode):
    support, query = episode
    predicted = nearest_centroid(support, query).argmax(dim=-1)
    labels = torch.arange(4).repeat_interleave(5).numpy()
    for b in range(3):
        rule = NearestCentroid().fit(support[b].flatten(0, 1).numpy(), labels)
        assert predicted[b].tolist() == rule.predict(query[b].numpy()).tolist()


def test_uneven_shots_average_what_is_there():
    support = torch.tensor([[[[2.0, 0.0], [4.0, 0.0]], [[0.0, 1.0], [9.0, 9.0]]]])
    there = torch.tensor([[[True, True], [True, False]]])
    logits = nearest_centroid(support, torch.zeros(1, 1, 2), support_mask=there)
    torch.testing.assert_close(logits, torch.tensor([[[-9.0, -1.0]]]))


def test_lengths_of_features_matter():
    support = torch.tensor([[[[1.0, 0.0]], [[10.0, 0.0]]]])
    logits = nearest_centroid(support, torch.tensor([[[2.0, 0.0], [8.0, 0.0]]]))
    assert logits.argmax(dim=-1).tolist() == [[0, 1]]
