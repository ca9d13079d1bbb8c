"""The parts of a logit: they sum up to it, and each is what the formula says."""

import pytest
import torch
from clusters import relatives

from fewshot.graph.class_graph import ClassGraph
from fewshot.graph.vectors import normalize
from fewshot.graph.why import why


@pytest.fixture
def graph():
    graph = ClassGraph()
    with torch.no_grad():
        graph.refine.message.fill_(0.3)  # large enough to be seen
    return graph


def episode(n=5, k=3, m=7, d=16, b=2):
    torch.manual_seed(0)
    return torch.randn(b, n, k, d), torch.randn(b, m, d)


@pytest.mark.parametrize("shot", [1, 3])
def test_the_parts_sum_up_to_the_logits(graph, shot):
    support, query = episode(k=shot)
    parts, output = why(graph, support, query), graph(support, query)
    torch.testing.assert_close(parts.after, output.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(parts.prototypes, output.prototypes)
    assert (parts.after - parts.before).abs().max() > 0.1


def test_one_shot_by_hand(graph):
    support, query = episode(n=3, k=1, b=1)
    parts, output = why(graph, support, query), graph(support, query)
    weight, scale, gamma = output.dependencies[0], output.scale, graph.refine.message
    x, q = normalize(support[0, :, 0]), normalize(query[0])
    for i in range(3):
        r = (x[i] + gamma * sum(weight[i, j] * x[j] for j in range(3))).norm()
        torch.testing.assert_close(parts.own[0, :, i], scale * (q @ x[i]) / r)
        for j in range(3):
            expected = scale * weight[i, j] * gamma * (q @ x[j]) / r
            torch.testing.assert_close(parts.messages[0, :, i, j], expected)
        torch.testing.assert_close(parts.before[0, :, i], scale * (q @ x[i]) + parts.handicap[0, 0, i])


def test_a_class_that_says_nothing_contributes_nothing(graph):
    support, query = episode()
    mask = torch.tensor([[True, True, True, False, True]] * 2)
    parts = why(graph, support, query, class_mask=mask)
    assert (parts.messages[:, :, :, 3] == 0).all()
    assert (parts.messages.diagonal(dim1=2, dim2=3) == 0).all()  # nor does a class to itself
    logits = graph(support, query, class_mask=mask).logits
    torch.testing.assert_close(parts.after[:, :, mask[0]], logits[:, :, mask[0]], atol=1e-5, rtol=0)


def test_without_messages_nothing_changes(graph):
    with torch.no_grad():
        graph.refine.message.zero_()
    parts = why(graph, *episode())
    assert (parts.messages == 0).all()
    torch.testing.assert_close(parts.after, parts.before)
    assert torch.equal(parts.prototypes, parts.prototypes_before)


CASES = {
    "plain": {},
    "believed": {"belief": 1.0},
    "fewer classes": {"class_mask": torch.tensor([[True, True, True, False, True]] * 2)},
    "unequal shots": {"support_mask": (torch.arange(30) % 4 > 0).view(2, 5, 3)},
    "no image of a class": {
        "support_mask": torch.tensor([True, False, True, True, True])[None, :, None].expand(2, 5, 3),
        "class_mask": torch.ones(2, 5, dtype=torch.bool),
    },
    "padded queries": {"query_mask": torch.tensor([[False, True, True, True, True, True, False]] * 2)},
    "shares": {"proportions": torch.tensor([[0.2, 0.5, 0.1, 0.1, 0.1]] * 2)},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("shot", [1, 3])
def test_with_known_classes_the_parts_sum_up_too(graph, case, shot):
    support, query = episode(k=shot)
    options = {**relatives(support), **CASES[case]}
    if "support_mask" in options:
        options["support_mask"] = options["support_mask"][:, :, :shot]
    if "query_mask" in options:  # padding may hold anything
        query = query.masked_fill(~options["query_mask"][..., None], torch.nan)
    parts, output = why(graph, support, query, **options), graph(support, query, **options)
    torch.testing.assert_close(parts.after, output.logits, atol=2e-5, rtol=0)
    torch.testing.assert_close(parts.prototypes, output.prototypes)
    assert parts.known.abs().max() > 0.1
    unheard = {**options, "relations": torch.full((5, 12), torch.nan)}
    assert (why(graph, support, query, **unheard).known == 0).all()


def test_known_share_of_one_shot_by_hand(graph):
    support, query = episode(n=5, k=1)
    options = relatives(support)
    parts, output = why(graph, support, query, **options), graph(support, query, **options)
    masks = torch.ones(2, 5, 1, dtype=torch.bool), torch.ones(2, 5, dtype=torch.bool)
    x, q = normalize(support[:, :, 0]), normalize(query)
    more = {"belief": None, "conv": graph.conv, "most": None}
    message = graph.neighbours(normalize(support), *masks, *options.values(), **more).message
    total = x + message
    weight, gamma = output.dependencies, graph.refine.message
    nodes = normalize(total)
    length = total.norm(dim=-1) * (nodes + gamma * weight @ nodes).norm(dim=-1)
    scale = output.scale[:, None, None]
    torch.testing.assert_close(parts.own, scale * q @ x.mT / length[:, None])
    torch.testing.assert_close(parts.known, scale * q @ message.mT / length[:, None])


def test_a_class_without_images_has_nothing_of_its_own(graph):
    support, query = episode(k=1)
    masks = {**CASES["no image of a class"]}
    masks["support_mask"] = masks["support_mask"][:, :, :1]
    parts = why(graph, support, query, **relatives(support), **masks)
    assert (parts.own[..., 1] == 0).all()
    assert parts.known[..., 1].abs().max() > 0.1


def test_without_relations_known_classes_give_nothing(graph):
    assert (why(graph, *episode()).known == 0).all()


def test_the_graph_is_left_as_it_was(graph):
    why(graph, *episode())
    assert not any(module._forward_hooks for module in graph.modules())
