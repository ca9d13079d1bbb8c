"""BD-CSPN against its formulas, one query at a time."""

import numpy as np
import torch
from scipy.special import softmax

from fewshot.methods.bd_cspn import bd_cspn


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def cosine(x, y):
    return unit(x) @ unit(y)


def reference(support, query):
    """[N, K, D] and [M, D] to the rectified prototypes [N, D]."""
    support, query = unit(support), unit(query)
    basic = [np.mean(of_class, axis=0) for of_class in support]
    shift = support.mean((0, 1)) - query.mean(0)
    members = [list(of_class) for of_class in support]
    for x in query + shift:
        members[np.argmax([cosine(x, p) for p in basic])].append(x)
    rectified = []
    for c, xs in enumerate(members):
        weights = [softmax([10 * cosine(x, p) for p in basic])[c] for x in xs]
        rectified.append(sum(w * x for w, x in zip(weights, xs, strict=True)) / len(xs))
    return np.stack(rectified)


def test_equals_the_papers_steps(episode):
    logits = bd_cspn(*episode)[0]
    support, query = (x[0].numpy() for x in episode)
    expected = [[10 * cosine(q, p) for p in reference(support, query)] for q in query]
    torch.testing.assert_close(logits, torch.tensor(expected, dtype=torch.float64))


def test_queries_that_are_all_like_the_supports_leave_the_prototypes():
    support = torch.eye(3)[None, :, None]
    query = torch.eye(3)[None]
    torch.testing.assert_close(bd_cspn(support, query), 10 * torch.eye(3)[None])


def test_a_shift_of_all_queries_is_taken_off_before_they_are_given_to_classes():
    support = torch.tensor([[[[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]]]])
    query = torch.tensor([[[0.6, 0.0, 0.8], [0.0, 0.6, 0.8]]])  # of length 1, lifted by 0.8 in the third
    rectified = bd_cspn(support, query)[0]  # shifted: (0.8, 0.2, 0), (0.2, 0.8, 0), so p' has no third part
    weight, own = torch.tensor([[10.0, 0.0]]).softmax(-1), torch.tensor([0.8, 0.2])
    moved = (10 * own / own.norm()).softmax(-1)
    first = weight[0, 0] * torch.tensor([1.0, 0.0, 0.0]) + moved[0] * torch.tensor([0.8, 0.2, 0.0])
    torch.testing.assert_close(rectified[0, 0], 10 * 0.6 * first[0] / first.norm())
