"""The message-passing layer: worked by hand, dense against sparse."""

import math

import pytest
import torch
from clusters import D, close, random
from torch_geometric import EdgeIndex
from torch_geometric.nn import MessagePassing

from fewshot.graph.conv import ClassGraphConv, edge_cosines


def test_conv_sums_in_one_pass_along_a_sorted_edge_index() -> None:
    conv = ClassGraphConv().requires_grad_(False)
    x = torch.randn(6, 7, generator=torch.Generator().manual_seed(6))
    edge_index = torch.tensor([[1, 2, 5, 0, 4], [0, 0, 1, 3, 3]])
    fused = EdgeIndex(edge_index, sparse_size=(6, 6), sort_order="col")
    close(conv(x, fused), conv(x, edge_index), 1e-6)


def test_conv_is_a_message_passing_with_its_own_message() -> None:
    assert isinstance(ClassGraphConv(), MessagePassing)
    assert "message" in vars(ClassGraphConv)


def test_conv_on_a_graph_worked_by_hand() -> None:
    """Four nodes: 1 and 2 speak to 0, 3 to 1; nothing to 2 and 3."""
    conv = ClassGraphConv().requires_grad_(False)
    conv.log_sharpness.fill_(math.log(2.0))
    x = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 5.0], [1.0, 1.0]])
    edge_index = torch.tensor([[1, 2, 3], [0, 0, 1]])
    near, far = math.exp(2.0 * 1.0), math.exp(2.0 * 0.0)
    first = [near * 3 / (near + far), far * 5 / (near + far)]
    close(conv(x, edge_index), torch.tensor([first, [1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]), 1e-6)


def test_conv_dense_equals_sparse_on_a_complete_graph() -> None:
    conv = ClassGraphConv().requires_grad_(False)
    conv.presence.fill_(0.5)
    x = torch.randn(1, 6, 7, generator=torch.Generator().manual_seed(6))
    mask = ~torch.eye(6, dtype=torch.bool)[None]
    prior = torch.rand(1, 6, 6, generator=torch.Generator().manual_seed(7))
    present = torch.tensor([[1.0, 0, 0, 1, 0, 0]])
    target, source = mask[0].nonzero().T
    edge_index = torch.stack([source, target])
    messages = conv(x[0], edge_index, prior=prior[0, target, source], present=present[0])
    close(conv.dense_dependencies(x, mask, prior, present) @ x, messages[None], 1e-6)


def test_edge_cosines_are_entries_of_all_cosines(piece: None) -> None:
    x, edge_index = random(7, D), torch.tensor([[0, 3, 6, 6], [1, 1, 0, 5]])
    torch.testing.assert_close(edge_cosines(x, edge_index), (x @ x.T)[edge_index[0], edge_index[1]])
    assert edge_cosines(x, edge_index[:, :0]).shape == (0,)


def test_conv_shows_its_scalars_and_resets_them() -> None:
    conv = ClassGraphConv(sharpness=2.0, presence=0.25)
    assert repr(conv) == "ClassGraphConv(log_sharpness=0.6931, log_prior=0, presence=0.25)"
    with torch.no_grad():
        conv.presence.fill_(7.0)
    conv.reset_parameters()
    assert conv.presence.item() == 0.25


def test_conv_takes_one_number_per_edge_in_either_form() -> None:
    conv = ClassGraphConv().requires_grad_(False)
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    edge_index = torch.tensor([[1, 2, 3], [0, 0, 1]])
    weight, present = torch.tensor([0.2, 0.8, 1.0]), torch.tensor([1.0, 0.0, 1.0, 0.0])
    assert torch.equal(conv(x, edge_index, weight[:, None]), conv(x, edge_index, weight))
    assert torch.equal(
        conv(x, edge_index, prior=weight[:, None], present=present[:, None]),
        conv(x, edge_index, prior=weight, present=present),
    )
    close(conv((x, x[:2]), edge_index, weight), conv(x, edge_index, weight)[:2], 1e-6)


X, EDGES = torch.ones(4, 3), torch.tensor([[1, 2, 3], [0, 0, 1]])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"weight": torch.ones(1)},
            r"weight: expected floats \[3\] or \[3, 1\], one per edge, got float32 \[1\]",
        ),
        ({"weight": torch.ones(1, 3)}, r"weight: .* got float32 \[1, 3\]"),
        ({"weight": torch.ones(3, 3)}, r"weight: .* got float32 \[3, 3\]"),
        ({"weight": torch.ones(3, dtype=torch.long)}, "weight: .* got int64"),
        ({"prior": torch.ones(4, 4)}, r"prior: expected floats \[3\]"),
        (
            {"present": torch.ones(3)},
            r"present: expected floats \[4\] or \[4, 1\], one per node, got float32",
        ),
        ({"weight": torch.ones(3), "prior": torch.ones(3)}, "prior: expected None with given weights"),
        ({"weight": torch.ones(3), "present": torch.ones(4)}, "present: expected None with given weights"),
        ({"edge_index": EDGES.T}, r"edge_index: expected int64 \[2, E\], got int64 \[3, 2\]"),
        ({"edge_index": EDGES.float()}, "edge_index: expected int64 .* got float32"),
        ({"edge_index": EDGES + 1}, "edge_index: expected sources from 0 to 3, got 2 to 4"),
        ({"edge_index": EDGES - 1}, "edge_index: expected targets from 0 to 3, got -1 to 0"),
        ({"x": torch.ones(4)}, r"x: expected floats \[n, D\], got float32 \[4\]"),
        ({"x": torch.ones(4, 3, dtype=torch.long)}, "x: expected floats"),
        ({"x": (X, X)}, "x: expected one tensor .* without given weights, got a pair"),
    ],
)
def test_conv_refuses_what_it_would_have_to_broadcast(given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClassGraphConv()(**{"x": X, "edge_index": EDGES, **given})
