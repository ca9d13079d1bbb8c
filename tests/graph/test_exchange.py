"""What the rounds of the joint mode compute from inner products, against loops over vectors."""

from copy import deepcopy

import pytest
import torch
from clusters import N, close, episodes, random
from torch.nn.functional import pad

from fewshot.graph.class_graph import ClassGraph
from fewshot.graph.joint import among, hear, kinship, leave_one_out, mean_cosine
from fewshot.graph.vectors import normalize, products

M = 7


@pytest.fixture(params=[3, 20], ids=["many queries", "many features"])
def query(request: pytest.FixtureRequest) -> torch.Tensor:
    """[1, M, D], one of them padding; they outnumber the features, or not."""
    vectors = normalize(random(1, M, request.param))
    vectors[0, 2] = 0.0
    assert (among(vectors) is None) == (request.param < 2 * M)
    return vectors


def test_sums_are_heard_by_each_query(query: torch.Tensor) -> None:
    weights = random(1, M, N, seed=1)
    found = hear(query, weights, among(query))
    for m in range(M):
        for i in range(N):
            total = sum(weights[0, other, i] * query[0, other] for other in range(M))
            assert found[0, m, i] == pytest.approx((query[0, m] @ total).item())


def test_cosines_without_the_own_message(query: torch.Tensor) -> None:
    base, own = random(1, N, query.shape[-1], seed=1), random(1, M, N, seed=2)
    square = query.square().sum(-1, keepdim=True)
    along = products(query, base) + hear(query, own, among(query))
    length = (base + own.transpose(1, 2) @ query).square().sum(-1)
    found = leave_one_out(along, length, own, square)
    for m in range(M):
        for i in range(N):
            others = sum(own[0, other, i] * query[0, other] for other in range(M) if other != m)
            assert found[0, m, i] == pytest.approx((query[0, m] @ normalize(base[0, i] + others)).item())


def test_kinship_is_a_mean_over_the_other_queries(query: torch.Tensor) -> None:
    assigned, across = random(1, M, N, seed=1).abs(), among(query)
    seen = query.norm(dim=-1, keepdim=True)
    assigned, square = assigned * seen, seen.square()
    mean = mean_cosine(hear(query, seen, across), seen, square)
    found = kinship(hear(query, assigned, across), assigned, mean, square, torch.tensor(0.5))
    for m in range(M):
        others = [other for other in range(M) if other != m and seen[0, other] > 0]
        usual = sum(query[0, m] @ query[0, other] for other in others) / len(others)
        for i in range(N):
            more = sum(assigned[0, other, i] * (query[0, m] @ query[0, other] - usual) for other in others)
            mass = sum(assigned[0, other, i] for other in others)
            assert found[0, m, i] == pytest.approx((more / (mass + 0.5)).item())


@pytest.mark.parametrize("shot", [1, 4])
def test_features_that_are_always_0_change_nothing(graph: ClassGraph, options: dict, shot: int) -> None:
    graph = deepcopy(graph).double()
    support, query = (x.double() for x in episodes(k=shot)[:2])  # more queries than features
    wide = graph(pad(support, (0, 60)), pad(query, (0, 60)), **options)  # many more features than queries
    close(graph(support, query, **options).logits, wide.logits, 1e-9)
