"""The graph neural network: each formula in a loop over nodes, and padding with a fixed way."""

import pytest
import torch
from torch import nn
from torch.nn.functional import leaky_relu

from fewshot.core.errors import InputError
from fewshot.methods.gnn import GNN, GraphConvolution, PairNetwork
from fewshot.methods.shared import nodes


@pytest.fixture
def gnn(lively):
    torch.manual_seed(0)
    return lively(GNN(features=8, way=4, embedding=6, width=4))


def test_pairs_equal_the_formula_in_a_loop(lively):
    pairs = lively(PairNetwork(5, (7, 3)))
    x = torch.randn(2, 4, 5, dtype=torch.float64)
    for g in range(2):
        for i in range(4):
            for j in range(4):
                found = pairs(x)[g, i, j]
                torch.testing.assert_close(
                    found, pairs.layers((x[g, i] - x[g, j]).abs()[None])[0, 0] * (i != j)
                )


def test_convolution_of_nodes_that_all_sound_alike():
    layer = GraphConvolution(2, 1, (3,)).eval()
    nn.init.zeros_(layer.pairs.layers[-1].weight)  # so that each node listens to all others equally
    layer.linear.load_state_dict(
        {"weight": torch.tensor([[1.0, 10.0, 100.0, 1000.0]]), "bias": torch.ones(1)}
    )
    x = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [5.0, 8.0], [7.0, 7.0]]])
    there = torch.tensor([[True, True, True, False]])
    means = torch.tensor([[4.0, 6.0], [3.0, 5.0], [2.0, 3.0]])  # of the others that are there
    expected = 1 + x[0, :3] @ torch.tensor([1.0, 10.0]) + means @ torch.tensor([100.0, 1000.0])
    torch.testing.assert_close(layer(x, there)[0, :3, 0], expected)


def test_a_query_equals_the_papers_formulas_in_a_loop(gnn, episode):
    support, query = episode
    images = torch.cat([query[1, 2:3], support[1].flatten(0, 1)])
    labels = torch.cat([torch.full((1, 4), 1 / 4), torch.eye(4).repeat_interleave(5, 0)])
    unit = images / images.norm(dim=1, keepdim=True) * 8**0.5
    x = torch.cat([gnn.embed(unit), labels.double()], 1)

    def convolve(layer, x):
        rows = []
        for i in range(len(x)):
            others = [j for j in range(len(x)) if j != i]
            scores = torch.stack([layer.pairs.layers((x[i] - x[j]).abs()[None])[0, 0] for j in others])
            heard = (scores.softmax(0)[:, None] * x[others]).sum(0)
            rows.append(layer.linear(torch.cat([x[i], heard])))
        return torch.stack(rows)

    for layer, norm in zip(gnn.layers, gnn.norms, strict=True):
        x = torch.cat([x, leaky_relu(norm(convolve(layer, x)))], 1)
    torch.testing.assert_close(gnn(support, query)[1, 2], convolve(gnn.last, x)[0])


def test_a_few_graphs_at_a_time_are_the_same(gnn, episode, monkeypatch):
    logits = gnn(*episode)
    monkeypatch.setattr(nodes, "PAIRS", 21**2 * 5)  # five of the 33 graphs
    with torch.no_grad():
        torch.testing.assert_close(gnn(*episode), logits)


def test_padded_equals_unpadded(gnn, episode):
    support, query = episode
    support_mask = torch.ones(3, 4, 5, dtype=torch.bool)
    support_mask[:, :, 2:] = False
    garbage = support.clone()
    garbage[:, :, 2] = 1e6
    garbage[:, :, 3:] = torch.nan
    padded = gnn(garbage, query, support_mask=support_mask)
    torch.testing.assert_close(padded, gnn(support[:, :, :2], query))


def test_a_padded_class_says_nothing(gnn, episode):
    support, query = episode
    class_mask = torch.tensor([[True, True, True, False]] * 3)
    logits = gnn(support, query, class_mask=class_mask)
    assert (logits[..., 3] == -torch.inf).all()
    garbage = support.clone()
    garbage[:, 3] = torch.nan
    torch.testing.assert_close(gnn(garbage, query, class_mask=class_mask), logits)
    assert not torch.allclose(gnn(support, query)[..., :3], logits[..., :3])


def test_another_way_is_refused(gnn):
    with pytest.raises(InputError, match=r"support: expected 4 classes, .* got 5"):
        gnn(torch.randn(1, 5, 1, 8), torch.randn(1, 2, 8))
