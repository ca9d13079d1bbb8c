"""The nearest classes against the whole matrix."""

import torch
from clusters import random

from fewshot.graph.edges import nearest_classes
from fewshot.graph.vectors import normalize

B, N, K, D = 2, 3, 4, 6


def test_nearest_classes_are_those_of_the_whole_matrix(piece: None) -> None:
    classes = normalize(random(B, 20, D))
    mask = torch.ones(B, 20, dtype=torch.bool)
    mask[0, 3:] = False
    prior = random(B, 20, 20, seed=1)
    cosines = classes @ classes.transpose(1, 2) + prior
    cosines = cosines.masked_fill(torch.eye(20, dtype=torch.bool) | ~mask[:, None], -torch.inf)
    values, expected = cosines.topk(5)
    found = nearest_classes(classes, mask, 5, prior)
    assert torch.equal(found, expected.masked_fill(values == -torch.inf, -1))
    assert (found[0] >= 0).sum(-1).tolist() == [2] * 3 + [3] * 17
