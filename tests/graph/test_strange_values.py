"""What is not finite, not a tensor or not known is refused by name, and padding may hold anything."""

import math
from inspect import signature

import numpy as np
import pytest
import torch
from torch import Tensor

from fewshot.graph.checks import check_episodes, check_known, finite_queries
from fewshot.graph.class_graph import ClassGraph

GRAPH = ClassGraph.pretrained()
B, N, K, M, D = 2, 3, 2, 5, 8
NAN, INF = math.nan, math.inf


def inputs() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "support": torch.randn(B, N, K, D, generator=generator),
        "query": torch.randn(B, M, D, generator=generator),
    }


def spoilt(shape: tuple[int, ...], value: float) -> Tensor:
    x = torch.ones(shape)
    x.view(-1)[1] = value
    return x


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("support", spoilt((B, N, K, D), NAN)),
        ("support", spoilt((B, N, K, D), INF)),
        ("query", spoilt((B, M, D), NAN)),
        ("query", spoilt((B, M, D), -INF)),
        ("prior", spoilt((N, N), NAN)),
        ("prior", spoilt((B, N, N), INF)),
        ("proportions", spoilt((B, N), INF)),
        ("proportions", spoilt((B, N), NAN)),
        ("evidence", torch.zeros(B, N)),
        ("support_mask", torch.zeros(B, N, K, dtype=torch.bool)),
        ("class_mask", torch.zeros(B, N, dtype=torch.bool)),
        ("query", torch.ones(B, M, D).to_sparse()),
        ("query", torch.ones(B, M, D, device="meta")),
    ],
)
def test_it_is_refused_by_name(name: str, value: object, joint: bool) -> None:
    with pytest.raises(ValueError, match=name):
        GRAPH(**(inputs() | {name: value}), joint=joint)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("neighbours", 2.5),
        ("neighbours", True),
        ("neighbours", "2"),
        ("support", np.ones((B, N, K, D), np.float32)),
        ("query", [[[1.0] * D] * M] * B),
        ("query", None),
        ("query_mask", np.ones((B, M), bool)),
    ],
)
def test_what_is_no_tensor_is_refused_by_name(name: str, value: object) -> None:
    arguments = dict.fromkeys(list(signature(check_episodes).parameters))
    with pytest.raises(ValueError, match=name):
        check_episodes(**(arguments | inputs() | {name: value}))


def test_known_classes_are_tensors() -> None:
    with pytest.raises(ValueError, match="known: expected a tensor, got ndarray"):
        check_known(inputs()["support"], np.ones((4, D)), torch.ones(N, 4), None, None)


@pytest.mark.parametrize("joint", [False, True])
def test_padding_may_hold_anything(joint: bool) -> None:
    given = inputs()
    masks = {
        "support_mask": torch.ones(B, N, K, dtype=torch.bool),
        "query_mask": torch.ones(B, M, dtype=torch.bool),
    }
    masks["support_mask"][0, 1, 1] = masks["query_mask"][1, 2] = False
    plain = GRAPH(**given, **masks, joint=joint).logits
    given["support"][0, 1, 1] = NAN
    given["query"][1, 2] = INF
    there = masks["query_mask"]
    assert torch.equal(GRAPH(**given, **masks, joint=joint).logits[there], plain[there])


def test_large_finite_numbers_are_finite() -> None:
    given = inputs()
    assert GRAPH(given["support"] * 1e17, given["query"] * 1e17).logits.isfinite().all()


def test_a_query_that_is_not_finite_counts_as_padding_where_looking_costs_time() -> None:
    query, mask = inputs()["query"], torch.ones(B, M, dtype=torch.bool)
    mask[0, 0] = False
    query[1, 3, 2] = NAN
    found = finite_queries(query, mask)
    assert found is not None
    assert (~found).nonzero().tolist() == [[0, 0], [1, 3]]


def test_tensors_without_numbers_are_refused() -> None:
    given = {name: torch.empty_like(x, device="meta") for name, x in inputs().items()}
    with pytest.raises(
        ValueError, match="support: expected a tensor with numbers, got one on the device meta"
    ):
        GRAPH(**given)


def test_steps_are_a_whole_number_within_limits() -> None:
    for steps in (True, 0, 10**9):
        with pytest.raises(ValueError, match="steps: expected a whole number from 1 to 1000"):
            ClassGraph(steps)
