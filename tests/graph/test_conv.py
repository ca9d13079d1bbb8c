"""The message-passing layer: worked by hand, dense against sparse."""

import math

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
