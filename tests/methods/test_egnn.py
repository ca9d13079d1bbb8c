"""The edge-labelling graph neural network: each formula in a loop."""

import math

import pytest
import torch
from torch import nn

from fewshot.methods.egnn import EGNN, EdgeUpdate, NodeUpdate, edge_loss
from fewshot.methods.shared import nodes


@pytest.fixture
def egnn(lively):
    torch.manual_seed(0)
    return lively(EGNN(features=8, width=6, layers=2))


@pytest.fixture
def edges():
    generator = torch.Generator().manual_seed(2)
    alike = torch.rand(4, 4, generator=generator, dtype=torch.float64)
    return torch.stack([alike, 1 - alike])[None] * (1 - torch.eye(4))


def test_nodes_equal_the_formula_in_a_loop(lively, edges):
    update, x = lively(NodeUpdate(3, 5)), torch.randn(1, 4, 3, dtype=torch.float64)
    for i in range(4):
        heard = [sum(e[i, j] / e[i].sum() * x[0, j] for j in range(4)) for e in edges[0]]
        expected = update.layers(torch.cat([x[0, i], *heard])[None])[0]
        torch.testing.assert_close(update(x, edges)[0, i], expected)


def test_edges_equal_the_formula_in_a_loop(lively, edges):
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
    labels = torch.tensor([[0, 2, 1, 3, 3, 0, 2, 1, 1, 0, 2]] * 3)
    loss, logits = egnn.losses(*episode, labels, joint=joint)
    torch.testing.assert_close(logits, egnn(*episode, joint=joint))
    assert loss.isfinite()


def test_alone_is_together_with_nobody(egnn, episode):
    support, query = episode
    logits = egnn(support, query)
    for b in range(3):
        for m in range(11):
            alone = egnn(support[b : b + 1], query[b : b + 1, m : m + 1], joint=True)
            torch.testing.assert_close(alone[0, 0], logits[b, m])


@pytest.mark.parametrize("joint", [False, True])
def test_a_few_graphs_at_a_time_are_the_same(egnn, episode, joint, monkeypatch):
    logits = egnn(*episode, joint=joint)
    monkeypatch.setattr(nodes, "PAIRS", 21**2 * 5)  # five of the 33 graphs, or one of the three
    with torch.no_grad():
        torch.testing.assert_close(egnn(*episode, joint=joint), logits)
