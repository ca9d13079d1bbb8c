"""The mathematics of the class graph against loops in double precision and closed forms."""

import pytest
import torch
from torch import Tensor

from fewshot.graph.conv import edge_cosines
from fewshot.graph.handicap import pairwise_cosine
from fewshot.graph.relations import nearest_classes
from fewshot.graph.span import shrink
from fewshot.graph.suppression import suppress
from fewshot.graph.trust import candidate_cosines, collect, leave_one_out_cosines
from fewshot.graph.vectors import masked_softmax, normalize

B, N, K, D = 2, 3, 4, 6


@pytest.fixture(params=[1, 2**20])
def piece(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work on many classes, a row at a time and all at once."""
    monkeypatch.setattr("fewshot.graph.vectors.PIECE", request.param)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def shrunk(support: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
    """Images, and their coordinates; both [B, R, *], and the coordinates are taken back."""
    x = torch.cat([support.flatten(1, 2), query], dim=1)
    own, others, back = shrink(support, query)
    assert own.shape[:3] == support.shape[:3]
    coordinates = torch.cat([own.flatten(1, 2), others], dim=1)
    torch.testing.assert_close(back(coordinates), x, atol=1e-5, rtol=0)
    return x, coordinates


def test_shrinking_keeps_inner_products_zeros_and_the_way_back() -> None:
    support, query = normalize(random(B, N, K, 60)), normalize(random(B, 9, 60, seed=1))
    support[0, 1, 2:], query[1, 4] = 0.0, 0.0
    x, coordinates = shrunk(support, query)
    assert coordinates.shape == (B, N * K + 9, N * K + 9)
    torch.testing.assert_close(coordinates @ coordinates.mT, x @ x.mT, atol=1e-13, rtol=0)
    assert (coordinates.norm(dim=-1) == 0).equal(x.norm(dim=-1) == 0)


@pytest.mark.parametrize("rank", [1, 2, 10])
def test_shrinking_images_that_are_alike(rank: int) -> None:
    few = normalize(random(B, rank, 640)).float()
    x, coordinates = shrunk(few[:, [0] * 5, None], few[:, torch.arange(75) % rank])
    torch.testing.assert_close(coordinates @ coordinates.mT, x @ x.mT, atol=5e-6, rtol=0)


@pytest.mark.parametrize("d", [2 * (N * K + 9) - 1, 300])
def test_nothing_is_shrunk_for_no_gain_or_at_the_cost_of_a_gradient(d: int) -> None:
    support, query = normalize(random(B, N, K, d)), normalize(random(B, 9, d, seed=1))
    query.requires_grad_(d == 300)
    own, others, back = shrink(support, query)
    assert own is support
    assert others is query
    assert back(query) is query


def test_suppress_is_a_ridge_inverse_after_as_many_steps_as_dimensions() -> None:
    nodes, residuals, strength = random(B, N, D), random(B, 9, D, seed=1), torch.tensor(5.0).double()
    spread = residuals.transpose(1, 2) @ residuals / 9
    exact = torch.linalg.solve(torch.eye(D) + strength * spread, nodes.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(suppress(nodes, lambda x: x @ spread, strength, steps=D), exact)
    error = [(suppress(nodes, lambda x: x @ spread, strength, steps) - exact).norm() for steps in (0, 1, 2)]
    assert error[0] > error[1] > error[2]


def test_suppress_leaves_nodes_where_there_is_no_spread() -> None:
    nodes = random(B, N, D)
    same = suppress(nodes, torch.zeros_like, torch.tensor(20.0).double())
    torch.testing.assert_close(same, nodes)


@pytest.mark.parametrize("n", [1, 5, 16, 17])
def test_masked_softmax_is_that_of_what_is_there(n: int) -> None:
    scores, mask = random(B, 7, n), random(B, 1, n, seed=1) > -0.5
    mask[..., 0] = True
    exact = scores.masked_fill(~mask, -torch.inf).softmax(-1)
    torch.testing.assert_close(masked_softmax(scores, mask), exact)
    torch.testing.assert_close(masked_softmax(scores[0, 0], mask[0, 0]), exact[0, 0])


def test_pairwise_cosine_is_the_mean_over_pairs() -> None:
    support = normalize(random(B, N, K, D))
    weight = torch.ones(B, N, K).double()
    weight[0, 0, 2:] = 0
    found = pairwise_cosine(support, weight)
    for b in range(B):
        for i in range(N):
            there = [k for k in range(K) if weight[b, i, k]]
            pairs = [support[b, i, k] @ support[b, i, m] for k in there for m in there if k != m]
            torch.testing.assert_close(found[b, i], torch.stack(pairs).mean())


def test_pairwise_cosine_does_not_depend_on_the_number_of_supports() -> None:
    support = normalize(random(1, 1, 2, D)).repeat(1, 2, 1, 1)
    weight = torch.ones(1, 2, 2).double()
    torch.testing.assert_close(*pairwise_cosine(support, weight)[0])


def test_leave_one_out_cosines_against_a_loop() -> None:
    support, beside = normalize(random(B, N, K, D)), random(B, N, D, seed=1)
    own = torch.eye(N, dtype=torch.bool)[None, :, None]
    assignments = random(B, N, K, N, seed=2).softmax(-1)
    found = leave_one_out_cosines(support, assignments, None, own, beside)
    totals = collect(assignments, support, None) + beside
    for b in range(B):
        for i in range(N):
            for k in range(K):
                for c in range(N):
                    total = totals[b, c] - (assignments[b, i, k, c] * support[b, i, k] if c == i else 0)
                    expected = support[b, i, k] @ total / total.norm()
                    torch.testing.assert_close(found[b, i, k, c], expected)


# --- many classes


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


def candidates(n: int, c: int) -> Tensor:
    """Each class, and c - 1 others [B, n, c]."""
    steps = torch.rand(B, n, n - 1, generator=torch.Generator().manual_seed(3)).argsort(-1)[..., : c - 1] + 1
    itself = torch.arange(n)[None, :, None]
    return torch.cat([itself.expand(B, n, 1), (itself + steps) % n], -1)


def test_candidate_cosines_are_entries_of_all_cosines(piece: None) -> None:
    support, prototypes, index = random(B, 7, K, D), random(B, 7, D, seed=1), candidates(7, 3)
    every = candidate_cosines(support, prototypes, None)
    expected = every.gather(3, index[:, :, None].expand(-1, -1, K, -1))
    torch.testing.assert_close(candidate_cosines(support, prototypes, index), expected)


def test_edge_cosines_are_entries_of_all_cosines(piece: None) -> None:
    x, edge_index = random(7, D), torch.tensor([[0, 3, 6, 6], [1, 1, 0, 5]])
    torch.testing.assert_close(edge_cosines(x, edge_index), (x @ x.T)[edge_index[0], edge_index[1]])
    assert edge_cosines(x, edge_index[:, :0]).shape == (0,)


def test_collecting_from_candidates_is_collecting_with_zeros_elsewhere() -> None:
    """The sums, and their gradients."""
    support, index = random(B, 7, K, D), candidates(7, 3)
    weights = random(B, 7, K, 3, seed=1).requires_grad_()
    support.requires_grad_()
    whole = torch.zeros(B, 7, K, 7).double().scatter(3, index[:, :, None].expand(-1, -1, K, -1), weights)
    few, all_ = collect(weights, support, index), collect(whole, support, None)
    torch.testing.assert_close(few, all_)
    slope = random(B, 7, D, seed=2)
    for a, b in zip(
        torch.autograd.grad((few * slope).sum(), (weights, support)),
        torch.autograd.grad((all_ * slope).sum(), (weights, support)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_leaving_one_out_among_candidates() -> None:
    """With all other classes as candidates, in any order, the cosines are those without candidates."""
    support, beside, index = normalize(random(B, 7, K, D)), random(B, 7, D, seed=1), candidates(7, 7)
    assignments = random(B, 7, K, 7, seed=2).softmax(-1)
    where = index[:, :, None].expand(-1, -1, K, -1)
    diagonal = torch.eye(7, dtype=torch.bool)[None, :, None]
    first = (torch.arange(7) == 0)[None, None, None]
    expected = leave_one_out_cosines(support, assignments, None, diagonal, beside).gather(3, where)
    found = leave_one_out_cosines(support, assignments.gather(3, where), index, first, beside)
    torch.testing.assert_close(found, expected)
