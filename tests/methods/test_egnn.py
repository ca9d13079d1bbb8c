"""The edge-labelling graph neural network: each formula in a loop, and what must change nothing."""

import math

import pytest
import torch
from torch import nn

from fewshot.methods.egnn import EGNN, EdgeUpdate, NodeUpdate, edge_loss
from fewshot.methods.shared import nodes


def lively(module):
    """In eval mode and float64, with weights and statistics as if trained: nothing is nearly zero."""
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d):
            for tensor in (part.weight.data, part.bias.data, part.running_mean, part.running_var):
                tensor.uniform_(0.5, 1.5)
        if isinstance(part, nn.Linear):
            part.weight.data *= 3
    return module.eval().double()


@pytest.fixture
def egnn():
    torch.manual_seed(0)
    return lively(EGNN(features=8, width=6, layers=2))


@pytest.fixture
def episode():
    generator = torch.Generator().manual_seed(1)
    shapes = (2, 3, 4, 8), (2, 5, 8)
    return tuple(torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)


@pytest.fixture
def edges():
    generator = torch.Generator().manual_seed(2)
    alike = torch.rand(4, 4, generator=generator, dtype=torch.float64)
    return torch.stack([alike, 1 - alike])[None] * (1 - torch.eye(4))


def test_nodes_equal_the_formula_in_a_loop(edges):
    update, x = lively(NodeUpdate(3, 5)), torch.randn(1, 4, 3, dtype=torch.float64)
    for i in range(4):
        heard = [sum(e[i, j] / e[i].sum() * x[0, j] for j in range(4)) for e in edges[0]]
        expected = update.layers(torch.cat([x[0, i], *heard])[None])[0]
        torch.testing.assert_close(update(x, edges)[0, i], expected)


def test_edges_equal_the_formula_in_a_loop(edges):
    update, x = lively(EdgeUpdate(5)), torch.randn(1, 4, 5, dtype=torch.float64)
    found = update(x, edges)[0]

    def alike(i, j):
        return update.pairs.layers((x[0, i] - x[0, j]).abs()[None]).sigmoid().item()

    for i in range(4):
        others = [j for j in range(4) if j != i]
        kept = {}
        for c, s in enumerate([alike, lambda i, j: 1 - alike(i, j)]):
            e = edges[0, c, i]
            norm = sum(s(i, k) * e[k] for k in others) / sum(e[k] for k in others)
            kept[c] = {j: s(i, j) * e[j] / norm for j in others}
        for j in others:
            expected = [kept[c][j] / (kept[0][j] + kept[1][j]) for c in range(2)]
            torch.testing.assert_close(found[:, i, j], torch.stack(expected), atol=1e-5, rtol=1e-4)


def test_where_all_pairs_look_alike_edges_stay_what_the_labels_say(egnn, episode):
    for update in egnn.edges:
        nn.init.zeros_(update.pairs.layers[-1].weight)
        nn.init.zeros_(update.pairs.layers[-1].bias)
    logits = egnn(*episode, joint=True)
    torch.testing.assert_close(logits, torch.full_like(logits, math.log(0.5)), atol=1e-5, rtol=0)


def test_loss_weighs_pairs_of_one_class_and_of_two_alike():
    # Two queries and two supports, of classes 0, 1, 0, 1.
    same = torch.tensor([[[True, False] * 2, [False, True] * 2] * 2])
    edges = torch.full((1, 4, 4), 0.5)
    edges[0, 0, 2] = 0.25  # of one class: 1 of the 4 at queries
    edges[0, 1, 0] = 0.75  # of two: 1 of the 6 at queries
    edges[0, 2, 3] = 0.99  # known: does not count
    expected = (3 * math.log(2) + math.log(4)) / 4 + (5 * math.log(2) + math.log(4)) / 6
    assert edge_loss(edges, same, supports=2).item() == pytest.approx(expected)


@pytest.mark.parametrize("joint", [False, True])
def test_training_sees_the_logits_of_the_call(egnn, episode, joint):
    labels = torch.tensor([[0, 2, 1, 1, 0]] * 2)
    loss, logits = egnn.losses(*episode, labels, joint=joint)
    torch.testing.assert_close(logits, egnn(*episode, joint=joint))
    assert loss.isfinite()


def test_alone_is_together_with_nobody(egnn, episode):
    support, query = episode
    logits = egnn(support, query)
    for b in range(2):
        for m in range(5):
            alone = egnn(support[b : b + 1], query[b : b + 1, m : m + 1], joint=True)
            torch.testing.assert_close(alone[0, 0], logits[b, m])


@pytest.mark.parametrize("joint", [False, True])
def test_a_few_graphs_at_a_time_are_the_same(egnn, episode, joint, monkeypatch):
    logits = egnn(*episode, joint=joint)
    monkeypatch.setattr(nodes, "PAIRS", 13**2 * 3)  # three of the ten graphs, one of the two
    with torch.no_grad():
        torch.testing.assert_close(egnn(*episode, joint=joint), logits)


@pytest.mark.parametrize("joint", [False, True])
def test_queries_and_classes_permute(egnn, episode, joint):
    support, query = episode
    queries, classes = torch.tensor([3, 0, 4, 1, 2]), torch.tensor([2, 0, 1])
    permuted = egnn(support[:, classes], query[:, queries], joint=joint)
    torch.testing.assert_close(permuted, egnn(support, query, joint=joint)[:, queries][:, :, classes])


def test_other_queries_count_together_only(egnn, episode):
    support, query = episode
    other = torch.cat([query[:, :4], query[:, 4:] + 1], 1)
    torch.testing.assert_close(egnn(support, other)[:, :4], egnn(support, query)[:, :4])
    moved = egnn(support, other, joint=True)[:, :4] - egnn(support, query, joint=True)[:, :4]
    assert moved.abs().max() > 1e-4


@pytest.mark.parametrize("joint", [False, True])
def test_padded_equals_unpadded(egnn, episode, joint):
    support, query = episode
    support_mask = torch.ones(2, 3, 4, dtype=torch.bool)
    support_mask[:, :, 3] = False
    class_mask = torch.tensor([[True, True, False]] * 2)
    query_mask = torch.tensor([[True] * 4 + [False]] * 2)
    garbage, others = support.clone(), query.clone()
    garbage[:, :, 3] = 1e6
    garbage[:, 2] = torch.nan
    others[:, 4] = torch.nan
    masks = {"support_mask": support_mask, "class_mask": class_mask, "query_mask": query_mask}
    padded = egnn(garbage, others, joint=joint, **masks)
    expected = egnn(support[:, :2, :3], query[:, :4], joint=joint)
    torch.testing.assert_close(padded[:, :4, :2], expected, atol=1e-4, rtol=1e-4)
    assert (padded[..., 2] == -torch.inf).all()


@pytest.mark.parametrize("joint", [False, True])
def test_an_episode_alone_is_as_in_a_batch(egnn, episode, joint):
    support, query = episode
    for b in range(2):
        alone = egnn(support[b : b + 1], query[b : b + 1], joint=joint)
        torch.testing.assert_close(alone[0], egnn(support, query, joint=joint)[b])
