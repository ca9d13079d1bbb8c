"""What holds for every joint method, and the ground that they share."""

from functools import partial

import pytest
import torch

from fewshot.core.errors import InputError
from fewshot.methods.alpha_tim import alpha_tim
from fewshot.methods.bd_cspn import bd_cspn
from fewshot.methods.label_propagation import label_propagation
from fewshot.methods.laplacian_shot import laplacian_shot
from fewshot.methods.pt_map import pt_map
from fewshot.methods.shared.ready import make_ready, neighbour_graph, squared_distances
from fewshot.methods.tim import tim

B, N, K, M, D = 3, 4, 5, 11, 8
METHODS = {
    "label-propagation": partial(label_propagation, knn=6),
    "bd-cspn": bd_cspn,
    "laplacian-shot": laplacian_shot,
    "tim": partial(tim, steps=20),
    "alpha-tim": partial(alpha_tim, rate=1e-3, steps=20),
    "pt-map": partial(pt_map, epochs=5),
}
close = {"atol": 1e-4, "rtol": 1e-4}


@pytest.fixture(params=METHODS.values(), ids=METHODS.keys())
def method(request):
    return request.param


@pytest.fixture
def episode():
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(B, N, 1, D, generator=generator)
    support = centres + torch.randn(B, N, K, D, generator=generator)
    query = centres[:, torch.arange(M) % N, 0] + torch.randn(B, M, D, generator=generator)
    return support, query


def test_queries_permuted_permute_the_logits(method, episode):
    support, query = episode
    order = torch.randperm(M, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(method(support, query[:, order]), method(support, query)[:, order], **close)


def test_classes_permuted_permute_the_logits(method, episode):
    support, query = episode
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(method(support[:, order], query), method(support, query)[..., order], **close)


def test_the_order_of_a_classs_supports_changes_nothing(method, episode):
    support, query = episode
    torch.testing.assert_close(method(support.flip(2), query), method(support, query), **close)


def test_the_scale_of_all_features_changes_nothing(method, episode):
    support, query = episode
    torch.testing.assert_close(method(7 * support, 7 * query), method(support, query), **close)


def test_a_batch_equals_one_by_one(method, episode):
    support, query = episode
    single = torch.cat([method(support[b : b + 1], query[b : b + 1]) for b in range(B)])
    torch.testing.assert_close(method(support, query), single, **close)


def test_the_other_queries_matter(method, episode):
    support, query = episode
    together, fewer = method(support, query)[:, :5], method(support, query[:, :5])
    assert (together.softmax(-1) - fewer.softmax(-1)).abs().max() > 1e-3


@pytest.mark.parametrize("rubbish", [1e6, torch.nan])
def test_padded_equals_unpadded(method, episode, rubbish):
    support, query = episode
    support_mask = torch.ones(B, N, K, dtype=torch.bool)
    support_mask[:, :, 3:] = False
    class_mask = torch.tensor([[True, True, True, False]] * B)
    query_mask = torch.arange(M).expand(B, M) < 9
    support, query = support.clone(), query.clone()
    support[:, :, 3:], support[:, 3], query[:, 9:] = rubbish, rubbish, rubbish
    masks = {"support_mask": support_mask, "class_mask": class_mask, "query_mask": query_mask}
    logits = method(support, query, **masks)
    torch.testing.assert_close(logits[:, :9, :3], method(support[:, :3, :3], query[:, :9]), **close)
    assert (logits[..., 3] == -torch.inf).all()
    assert logits[..., :3].isfinite().all()


def test_episodes_of_different_sizes_in_one_batch(method, episode):
    support, query = episode
    sizes = [(2, 2, 1), (3, 1, 6), (4, 5, 11)]  # ways, shots and queries
    support_mask = torch.stack([(torch.arange(N)[:, None] < n) & (torch.arange(K) < k) for n, k, _ in sizes])
    query_mask = torch.stack([torch.arange(M) < m for _, _, m in sizes])
    logits = method(support, query, support_mask=support_mask, query_mask=query_mask)
    for b, (n, k, m) in enumerate(sizes):
        alone = method(support[b : b + 1, :n, :k], query[b : b + 1, :m])
        torch.testing.assert_close(logits[b : b + 1, :m, :n], alone, **close)


def test_unequal_shots(method, episode):
    support, query = episode
    support_mask = torch.ones(B, N, K, dtype=torch.bool)
    support_mask[:, 0, 1:] = False
    logits = method(support, query, support_mask=support_mask)
    moved = support.clone()
    moved[:, 0, 1:] = torch.nan
    torch.testing.assert_close(method(moved, query, support_mask=support_mask), logits, **close)
    assert (logits - method(support, query)).abs().max() > 1e-3


def test_separate_classes_are_told_apart(method):
    support = torch.eye(4)[None, :, None]
    query = torch.eye(4).repeat_interleave(5, 0)[None] + 0.1
    assert method(support, query).argmax(-1).tolist() == [[0] * 5 + [1] * 5 + [2] * 5 + [3] * 5]


@pytest.mark.parametrize(("ways", "queries"), [(2, 1), (60, 1), (60, 100), (2, 100)])
def test_few_and_many_ways_and_queries(method, ways, queries):
    generator = torch.Generator().manual_seed(0)
    support = torch.randn(1, ways, 1, D, generator=generator)
    logits = method(support, torch.randn(1, queries, D, generator=generator))
    assert logits.shape == (1, queries, ways)
    assert logits.isfinite().all()


def test_an_episode_without_queries_harms_no_other(method, episode):
    support, query = episode
    query_mask = torch.ones(B, M, dtype=torch.bool)
    query_mask[1] = False
    logits = method(support, query, query_mask=query_mask)
    torch.testing.assert_close(logits[[0, 2]], method(support[[0, 2]], query[[0, 2]]), **close)
    assert logits.isfinite().all()


def test_ignores_what_only_graphs_use(method, episode):
    support, query = episode
    told = method(support, query, joint=True, evidence=torch.ones(B, N), prior=None, neighbours=2)
    assert torch.equal(told, method(support, query))


def test_make_ready_says_what_does_not_fit():
    support, query = torch.randn(2, 3, 1, 4), torch.randn(2, 5, 4)
    with pytest.raises(InputError, match=r"query: expected floats \[B, M, D\] with B = 2 and D = 4, got"):
        make_ready(support, query[..., :3])
    with pytest.raises(InputError, match=r"query_mask: expected bool \[2, 5\], got"):
        make_ready(support, query, query_mask=torch.ones(2, 4, dtype=torch.bool))
    with pytest.raises(InputError, match="proportions: expected shares from 0 up"):
        make_ready(support, query, proportions=-torch.ones(2, 3))


def test_make_ready_scales_shares_over_the_classes_that_are_there():
    class_mask = torch.tensor([[True, True, False]])
    shares = torch.tensor([[1.0, 3.0, torch.nan]]).nan_to_num(9.0)
    ready = make_ready(torch.randn(1, 3, 1, 4), torch.randn(1, 5, 4), None, class_mask, None, shares)
    torch.testing.assert_close(ready.shares, torch.tensor([[0.25, 0.75, 0.0]]))


def test_half_precision_is_computed_in_single():
    ready = make_ready(torch.randn(1, 3, 1, 4).bfloat16(), torch.randn(1, 5, 4).bfloat16())
    assert ready.support.dtype == ready.query.dtype == ready.shares.dtype == torch.float32


def test_neighbours_are_of_those_that_are_there():
    x = torch.tensor([[[0.0], [1.0], [1.5], [4.0]]])
    there = torch.tensor([[[1.0], [0.0], [1.0], [1.0]]])
    graph = neighbour_graph(squared_distances(x, x), there, k=1)
    assert graph.tolist() == [[[0, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]]]
    everyone = neighbour_graph(squared_distances(x, x), there, k=9)
    assert everyone.sum(-1).tolist() == [[2, 0, 2, 2]]
