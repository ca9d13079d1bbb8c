"""Label propagation: the closed form against the iteration that it is the limit of."""

import numpy as np
import pytest
import torch

from fewshot.core.errors import InputError
from fewshot.methods.label_propagation import label_propagation


def reference(support, query, alpha, knn, width):
    """[N, K, D] and [M, D] to each query's shares [M, N], node by node; F is iterated."""
    n, k, d = support.shape
    x = np.concatenate([support.reshape(n * k, d), query])
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    size = len(x)
    far = np.array([[np.sum((x[i] - x[j]) ** 2) for j in range(size)] for i in range(size)])
    near = [sorted(set(range(size)) - {i}, key=lambda j: far[i, j])[: knn - 1] for i in range(size)]
    sigma = [width * np.sqrt(np.mean([far[i, j] for j in near[i]])) for i in range(size)]
    w = np.eye(size)
    for i in range(size):
        for j in range(size):
            if j in near[i] or i in near[j]:
                w[i, j] = np.exp(-far[i, j] / (2 * sigma[i] * sigma[j]))
    degree = w.sum(1)
    s = w / np.sqrt(degree[:, None] * degree)
    y = np.zeros((size, n))
    y[np.arange(n * k), np.arange(n * k) // k] = 1
    f = y
    for _ in range(4000):
        f = alpha * s @ f + y
    reached = f[n * k :]
    return reached / reached.sum(1, keepdims=True)


@pytest.mark.parametrize("options", [{}, {"alpha": 0.5, "knn": 5, "width": 0.6}])
def test_equals_the_limit_of_the_iteration(episode, options):
    logits = label_propagation(*episode, **options)
    options = {"alpha": 0.99, "knn": 20, "width": 0.3} | options
    expected = reference(*(x[0].numpy() for x in episode), **options)
    torch.testing.assert_close(logits[0].exp(), torch.tensor(expected), atol=1e-8, rtol=1e-6)


def test_labels_travel_along_a_chain():
    angles = torch.tensor([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])  # one arm from the first support, past the second
    query = torch.stack([angles.cos(), angles.sin(), 0 * angles], -1)[None, 1:]
    support = torch.tensor([[[[1.0, 0.0, 0.0]], [[0.3, 0.3, 0.9]]]])
    far = query[0, -1]
    assert far @ support[0, 1, 0] > 0.4
    assert (label_propagation(support, query, knn=3).argmax(-1) == 0).all()


def test_a_query_that_no_label_reaches_stays_undecided():
    support = torch.tensor([[[[1.0, 0.0]], [[0.9, 0.1]]]])
    query = torch.tensor([[[-1.0, 0.0], [-1.0, 0.01]]])
    logits = label_propagation(support, query, knn=2)
    assert (logits[..., 0] == logits[..., 1]).all()


def test_alpha_out_of_range():
    with pytest.raises(InputError, match="alpha: expected from 0 to under 1, got 1"):
        label_propagation(torch.randn(1, 2, 1, 4), torch.randn(1, 3, 4), alpha=1.0)
