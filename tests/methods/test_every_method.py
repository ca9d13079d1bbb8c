"""What holds for every method, or for every inductive or every joint one."""

from functools import partial

import pytest
import torch

from fewshot.methods.alpha_tim import alpha_tim
from fewshot.methods.bd_cspn import bd_cspn
from fewshot.methods.egnn import EGNN
from fewshot.methods.feat import FEAT
from fewshot.methods.gnn import GNN
from fewshot.methods.label_propagation import label_propagation
from fewshot.methods.laplacian_shot import laplacian_shot
from fewshot.methods.logistic_regression import logistic_regression
from fewshot.methods.matching import matching
from fewshot.methods.nearest_centroid import nearest_centroid
from fewshot.methods.niw import NIW
from fewshot.methods.prototypes import prototypes
from fewshot.methods.pt_map import pt_map
from fewshot.methods.simpleshot import simpleshot
from fewshot.methods.tim import tim

B, N, K, M, D = 3, 4, 5, 11, 8  # of the fixture `episode`
PRIOR = NIW(torch.zeros(D).double(), torch.diag(torch.linspace(0.5, 2.0, D).double()), kappa=0.5, nu=D + 3.0)

FITTED = {  # inductive, without training
    "prototypes": prototypes,
    "simpleshot": simpleshot,
    "nearest-centroid": nearest_centroid,
    "matching": matching,
    "logistic-regression": logistic_regression,
    "niw": PRIOR,
}
JOINT = {
    "label-propagation": partial(label_propagation, knn=6),
    "bd-cspn": bd_cspn,
    "laplacian-shot": laplacian_shot,
    "tim": partial(tim, steps=20),
    "alpha-tim": partial(alpha_tim, rate=1e-3, steps=20),
    "pt-map": partial(pt_map, epochs=5),
}
TRAINED = {
    "feat": lambda: FEAT(D, heads=2),
    "gnn": lambda: GNN(D, way=N, embedding=6, width=4),
    "egnn": lambda: EGNN(D, width=6, layers=2),
}
EVERY = [*FITTED, *JOINT, *TRAINED, "egnn-joint"]
ANY_WAY = [name for name in EVERY if name != "gnn"]
ALONE = [*FITTED, *TRAINED]  # inductive
TOGETHER = [*JOINT, "egnn-joint"]
close = {"atol": 1e-7, "rtol": 1e-7}


@pytest.fixture
def method(request, lively):
    """The method of a name."""
    name = request.param
    if name in TRAINED:
        torch.manual_seed(0)
        return lively(TRAINED[name]())
    if name == "egnn-joint":
        torch.manual_seed(0)
        return partial(lively(TRAINED["egnn"]()), joint=True)
    return (FITTED | JOINT)[name]


def of(names):
    return pytest.mark.parametrize("method", names, indirect=True)


@of(EVERY)
def test_queries_permuted_permute_the_logits(method, episode):
    support, query = episode
    order = torch.randperm(M, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(method(support, query[:, order]), method(support, query)[:, order], **close)


@of(ANY_WAY)
def test_classes_permuted_permute_the_logits(method, episode):
    support, query = episode
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(method(support[:, order], query), method(support, query)[..., order], **close)


@of(EVERY)
def test_the_order_of_a_classs_supports_changes_nothing(method, episode):
    support, query = episode
    torch.testing.assert_close(method(support.flip(2), query), method(support, query), **close)


@of([name for name in EVERY if name != "nearest-centroid"])
def test_the_scale_of_all_features_changes_nothing(method, episode):
    support, query = episode
    torch.testing.assert_close(method(7 * support, 7 * query), method(support, query), **close)


@of(EVERY)
def test_a_batch_equals_one_by_one(method, episode):
    support, query = episode
    single = torch.cat([method(support[b : b + 1], query[b : b + 1]) for b in range(B)])
    torch.testing.assert_close(method(support, query), single, **close)


@of(ALONE)
def test_a_querys_logits_do_not_depend_on_the_other_queries(method, episode):
    support, query = episode
    alone = torch.cat([method(support, query[:, m : m + 1]) for m in range(M)], dim=1)
    torch.testing.assert_close(method(support, query), alone, **close)
    next_to_nan = query.clone()
    next_to_nan[:, 1] = torch.nan
    others = [m for m in range(M) if m != 1]
    torch.testing.assert_close(method(support, next_to_nan)[:, others], alone[:, others], **close)


@of(TOGETHER)
def test_the_other_queries_matter(method, episode):
    support, query = episode
    together, fewer = method(support, query)[:, :5], method(support, query[:, :5])
    assert (together.softmax(-1) - fewer.softmax(-1)).abs().max() > 1e-3


def padded(episode, rubbish):
    """The episodes with the last two supports, the last class and the last two queries as padding; masks."""
    support, query = (x.clone() for x in episode)
    support[:, :, 3:], support[:, 3], query[:, 9:] = rubbish, rubbish, rubbish
    support_mask = torch.ones(B, N, K, dtype=torch.bool)
    support_mask[:, :, 3:] = False
    class_mask = torch.tensor([[True, True, True, False]] * B)
    query_mask = torch.arange(M).expand(B, M) < 9
    return support, query, {"support_mask": support_mask, "class_mask": class_mask, "query_mask": query_mask}


@of(ANY_WAY)
@pytest.mark.parametrize("rubbish", [1e6, torch.nan])
def test_padded_equals_unpadded(method, episode, rubbish):
    support, query, masks = padded(episode, rubbish)
    expected = method(support[:, :3, :3], query[:, :9])
    logits = method(support, query, **masks)[:, :9]
    torch.testing.assert_close(logits[..., :3], expected, **close)
    assert (logits[..., 3] == -torch.inf).all()
    del masks["support_mask"]
    torch.testing.assert_close(method(support[:, :, :3], query, **masks)[:, :9], logits, **close)


@of(TOGETHER)
@pytest.mark.parametrize("rubbish", [1e6, torch.nan])
def test_padded_queries_have_finite_logits(method, episode, rubbish):
    support, query, masks = padded(episode, rubbish)
    logits = method(support, query, **masks)
    assert logits[..., :3].isfinite().all()
    assert (logits[..., 3] == -torch.inf).all()


@of(ANY_WAY)
def test_episodes_of_different_sizes_in_one_batch(method, episode):
    support, query = episode
    sizes = [(2, 2, 1), (3, 1, 6), (4, 5, 11)]  # ways, shots and queries
    support_mask = torch.stack([(torch.arange(N)[:, None] < n) & (torch.arange(K) < k) for n, k, _ in sizes])
    masks = {
        "support_mask": support_mask,
        "class_mask": support_mask.any(-1),
        "query_mask": torch.stack([torch.arange(M) < m for _, _, m in sizes]),
    }
    logits = method(support, query, **masks)
    for b, (n, k, m) in enumerate(sizes):
        alone = method(support[b : b + 1, :n, :k], query[b : b + 1, :m])
        torch.testing.assert_close(logits[b : b + 1, :m, :n], alone, **close)


@of(JOINT)
def test_a_class_without_supports_is_padding(method, episode):
    support, query, masks = padded(episode, 0.0)
    masks["support_mask"][:, 3] = False
    whole = method(support, query, **masks)
    del masks["class_mask"]
    assert torch.equal(method(support, query, **masks), whole)


@of(EVERY)
def test_unequal_shots(method, episode):
    support, query = episode
    support_mask = torch.ones(B, N, K, dtype=torch.bool)
    support_mask[:, 0, 1:] = False
    logits = method(support, query, support_mask=support_mask)
    moved = support.clone()
    moved[:, 0, 1:] = torch.nan
    torch.testing.assert_close(method(moved, query, support_mask=support_mask), logits, **close)
    assert (logits - method(support, query)).abs().max() > 1e-3


@of([*FITTED, *JOINT])
def test_separate_classes_are_told_apart(method):
    support = torch.eye(D)[None, :4, None]
    query = torch.eye(D)[:4].repeat_interleave(5, 0)[None] + 0.1
    assert method(support, query).argmax(-1).tolist() == [[0] * 5 + [1] * 5 + [2] * 5 + [3] * 5]


@of(ANY_WAY)
@pytest.mark.parametrize(("ways", "queries"), [(2, 1), (60, 1), (60, 100), (2, 100)])
def test_few_and_many_ways_and_queries(method, ways, queries):
    generator = torch.Generator().manual_seed(0)
    support = torch.randn(1, ways, 1, D, generator=generator, dtype=torch.float64)
    query = torch.randn(1, queries, D, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        logits = method(support, query)
    assert logits.shape == (1, queries, ways)
    assert logits.isfinite().all()


@of(TOGETHER)
def test_an_episode_without_queries_harms_no_other(method, episode):
    support, query = episode
    query_mask = torch.ones(B, M, dtype=torch.bool)
    query_mask[1] = False
    logits = method(support, query, query_mask=query_mask)
    torch.testing.assert_close(logits[[0, 2]], method(support[[0, 2]], query[[0, 2]]), **close)
    assert logits.isfinite().all()


@of([name for name in EVERY if name != "egnn"])
def test_ignores_what_only_graphs_use(method, episode):
    support, query = episode
    told = method(support, query, joint=True, evidence=torch.ones(B, N), prior=None, neighbours=2)
    assert torch.equal(told, method(support, query))


@of([name for name in EVERY if name not in ("tim", "pt-map")])
def test_shares_change_nothing_where_a_method_does_not_use_them(method, episode):
    support, query = episode
    shares = torch.tensor([[0.7, 0.1, 0.1, 0.1]] * B)
    assert torch.equal(method(support, query, proportions=shares), method(support, query))
