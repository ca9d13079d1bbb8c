"""The class graph after a power transform."""

import torch

from fewshot import ClassGraph
from fewshot.methods.powered import after_power, signed_power


def test_power_one_is_the_graph_alone() -> None:
    graph, generator = ClassGraph.pretrained(), torch.Generator().manual_seed(0)
    support = torch.randn(2, 4, 3, 8, generator=generator)
    query = torch.randn(2, 6, 8, generator=generator)
    for options in ({}, {"joint": True}, {"joint": True, "proportions": torch.full((2, 4), 0.25)}):
        plain = graph(support, query, **options).logits
        torch.testing.assert_close(after_power(graph, 1.0)(support, query, **options).logits, plain)


def test_powers_multiply() -> None:
    x = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(signed_power(signed_power(x, 0.5), 0.8), signed_power(x, 0.4))
