"""The ground that the joint methods share, and their call."""

from inspect import signature

import pytest
import torch

from fewshot.core.errors import InputError
from fewshot.methods.shared.ready import joint_method, make_ready, neighbour_graph, squared_distances
from fewshot.methods.tim import tim


def test_a_joint_method_gets_its_own_options_and_no_others(episode):
    seen = {}

    @joint_method
    def method(ready, *, power=1.0, steps=3):
        seen.update(power=power, steps=steps)
        return ready.query @ ready.support.mT @ ready.labels

    logits = method(*episode, joint=True, evidence=None, power=2.0)
    assert logits.shape == (3, 11, 4)
    assert seen == {"power": 2.0, "steps": 3}


def test_a_joint_method_shows_the_call_that_it_has():
    common = ["support", "query", "support_mask", "class_mask", "query_mask", "proportions"]
    own = ["temperature", "support_weight", "entropy_weight", "steps"]
    assert list(signature(tim).parameters) == [*common, *own, "options"]
    assert tim.__doc__.startswith("Maximise the mutual information")


def test_make_ready_says_what_does_not_fit():
    support, query = torch.randn(2, 3, 1, 4), torch.randn(2, 5, 4)
    with pytest.raises(InputError, match=r"query: expected floats \[B, M, D\] with B = 2 and D = 4, got"):
        make_ready(support, query[..., :3])
    with pytest.raises(InputError, match=r"query_mask: expected bool \[2, 5\], got"):
        make_ready(support, query, query_mask=torch.ones(2, 4, dtype=torch.bool))
    with pytest.raises(InputError, match="proportions: expected shares from 0 up"):
        make_ready(support, query, proportions=-torch.ones(2, 3))


def test_make_ready_scales_shares_over_the_classes_that_are_there():
    class_mask = torch.tensor([[True, True, False]])
    shares = torch.tensor([[1.0, 3.0, torch.nan]]).nan_to_num(9.0)
    ready = make_ready(torch.randn(1, 3, 1, 4), torch.randn(1, 5, 4), None, class_mask, None, shares)
    torch.testing.assert_close(ready.shares, torch.tensor([[0.25, 0.75, 0.0]]))


def test_half_precision_is_computed_in_single():
    ready = make_ready(torch.randn(1, 3, 1, 4).bfloat16(), torch.randn(1, 5, 4).bfloat16())
    assert ready.support.dtype == ready.query.dtype == ready.shares.dtype == torch.float32


def test_neighbours_are_of_those_that_are_there():
    x = torch.tensor([[[0.0], [1.0], [1.5], [4.0]]])
    there = torch.tensor([[[1.0], [0.0], [1.0], [1.0]]])
    graph = neighbour_graph(squared_distances(x, x), there, k=1)
    assert graph.tolist() == [[[0, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]]]
    everyone = neighbour_graph(squared_distances(x, x), there, k=9)
    assert everyone.sum(-1).tolist() == [[2, 0, 2, 2]]
