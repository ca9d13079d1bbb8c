"""LaplacianShot against its formulas, one query at a time."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.neighbors import NearestNeighbors

from fewshot.graph.vectors import normalize
from fewshot.methods.bd_cspn import rectified_prototypes
from fewshot.methods.laplacian_shot import laplacian_shot
from fewshot.methods.shared.ready import make_ready


def bound_updates(query, prototypes, smoothness, knn, steps):
    """Assignments [M, N] of unit vectors [M, D] to prototypes [N, D]."""
    costs = [[np.sum((x - p) ** 2) for p in prototypes] for x in query]
    near = NearestNeighbors(n_neighbors=knn).fit(query).kneighbors(return_distance=True, X=query)[1][:, 1:]
    assigned = [softmax(-np.array(cost)) for cost in costs]
    for _ in range(steps):
        assigned = [
            softmax(-np.array(costs[q]) + smoothness * sum(assigned[r] for r in near[q]))
            for q in range(len(query))
        ]
    return np.stack(assigned)


@pytest.mark.parametrize("rectify", [False, True])
def test_equals_the_papers_updates(episode, rectify):
    support, query = episode
    options = {"smoothness": 0.9, "knn": 4, "steps": 7}
    if rectify:
        prototypes = rectified_prototypes(make_ready(support, query), 10.0)[0]
    else:
        prototypes = normalize(support[0]).mean(1)
    expected = bound_updates(normalize(query[0]).numpy(), prototypes.numpy(), **options)
    logits = laplacian_shot(support, query, rectify=rectify, **options)[0]
    torch.testing.assert_close(logits.softmax(-1), torch.tensor(expected))


def test_without_smoothness_it_is_the_nearest_class_mean(episode):
    support, query = episode
    logits = laplacian_shot(support, query, smoothness=0.0, rectify=False)
    distances = torch.cdist(normalize(query), normalize(support).mean(2)).square()
    torch.testing.assert_close(-logits, distances)


def test_neighbours_overrule_a_doubtful_query():
    support = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    query = torch.tensor([[[1.0, 0.98], [0.9, 1.0], [0.88, 1.0], [0.0, 1.0], [0.01, 1.0], [1.0, 0.0]]])
    assert laplacian_shot(support, query, smoothness=0.0, rectify=False).argmax(-1)[0, 0] == 0
    assert laplacian_shot(support, query, smoothness=2.0, rectify=False).argmax(-1)[0, 0] == 1
