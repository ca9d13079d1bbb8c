"""Relations of images that are unlike those of the known classes."""

import pytest
import torch

from fewshot.graph.class_graph import GraphOutput
from fewshot.graph.vectors import normalize
from fewshot.model.domain import domain_fit, followed


@pytest.fixture
def episode():
    generator = torch.Generator().manual_seed(0)
    known = normalize(torch.randn(50, 32, generator=generator))
    weight = torch.zeros(20, 50).scatter(1, torch.arange(20)[:, None], 1.0)
    return known, weight, torch.ones(20, 1).bool(), generator


def test_supports_that_are_where_messages_say_fit_wholly(episode):
    known, weight, mask, generator = episode
    assert domain_fit(known[:20, None], mask, known, weight, usual=1.0) == 1
    others = torch.randn(20, 1, 32, generator=generator)
    assert domain_fit(others, mask, known, weight, usual=5.0) < 0.1


def test_it_permutes_scales_and_rotates(episode):
    known, weight, mask, generator = episode
    support = known[:20, None] + torch.randn(20, 1, 32, generator=generator)
    expected = domain_fit(support, mask, known, weight, usual=4.0)
    assert 0 < expected < 1
    order, turn = torch.randperm(20), torch.linalg.qr(torch.randn(32, 32)).Q
    assert domain_fit(3 * support[order], mask, known, weight[order], 4.0) == pytest.approx(expected, 1e-4)
    assert domain_fit(support @ turn, mask, known @ turn, weight, 4.0) == pytest.approx(expected, 1e-4)


def test_classes_without_supports_or_relations_do_not_count(episode):
    known, weight, mask, generator = episode
    support = known[:20, None] + torch.randn(20, 1, 32, generator=generator)
    mask[:5], weight[15:] = False, 0
    few = domain_fit(support[5:15], mask[5:15], known, weight[5:15], 4.0)
    assert domain_fit(support, mask, known, weight, 4.0) == pytest.approx(few, 1e-5)
    assert domain_fit(support, torch.zeros_like(mask), known, weight, 4.0) == 1


def test_doubted_relations_are_left_out_and_the_others_believed_less():
    belief = torch.tensor([[0.9, 0.1, 0.7, 0.1]])
    output = GraphOutput(torch.zeros(1, 1, 4), torch.zeros(1, 4, 2), torch.zeros(1, 4, 4), belief=belief)
    mask = torch.tensor([[True], [True], [True], [False]])  # the last is a zero-shot class
    rows, given = followed(output, torch.ones(4, 3), mask, 0.5)
    assert rows.isnan().all(1).tolist() == [False, True, False, False]
    assert given == pytest.approx(0.4)
