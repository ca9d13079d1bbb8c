"""The class graph: the promises of its contract."""

import math

import pytest
import torch
from clusters import B, D, M, N, close, episodes

from fewshot.graph.class_graph import ClassGraph
from fewshot.graph.vectors import normalize
from fewshot.methods.prototypes import prototypes


def test_shapes_and_rows(graph: ClassGraph, options: dict) -> None:
    support, query, _ = episodes()
    out = graph(support, query, **options)
    assert out.logits.shape == (B, M, N)
    assert out.prototypes.shape == (B, N, D)
    close(out.prototypes.norm(dim=-1), torch.ones(B, N))
    close(out.dependencies.sum(-1), torch.ones(B, N))
    assert (out.dependencies >= 0).all()
    assert (out.dependencies.diagonal(dim1=1, dim2=2) == 0).all()


@pytest.mark.parametrize("d", [3, 64, 640])
def test_works_for_any_feature_size(graph: ClassGraph, options: dict, d: int) -> None:
    support, query, labels = episodes(d=d, spread=0.3)
    accuracy = (graph(support, query, **options).logits.argmax(-1) == labels).float().mean()
    assert accuracy > 0.6


def test_scaling_all_features_changes_nothing(graph: ClassGraph, options: dict) -> None:
    support, query, _ = episodes()
    once = graph(support, query, **options)
    close(once.logits, graph(1000 * support, 1000 * query, **options).logits)


def test_rotating_all_features_changes_nothing(graph: ClassGraph, options: dict) -> None:
    support, query, _ = episodes()
    turn = torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(2)))[0]
    once, turned = graph(support, query, **options), graph(support @ turn, query @ turn, **options)
    close(once.logits, turned.logits)
    close(once.dependencies, turned.dependencies)
    close(once.prototypes @ turn, turned.prototypes)


def test_permutes_with_queries(graph: ClassGraph, options: dict) -> None:
    support, query, _ = episodes()
    order = torch.randperm(M, generator=torch.Generator().manual_seed(3))
    once, shuffled = graph(support, query, **options), graph(support, query[:, order], **options)
    close(once.logits[:, order], shuffled.logits)
    close(once.prototypes, shuffled.prototypes)


def test_permutes_with_classes(graph: ClassGraph, options: dict) -> None:
    support, query, _ = episodes()
    order = torch.tensor([3, 0, 4, 1, 2])
    once, moved = graph(support, query, **options), graph(support[:, order], query, **options)
    close(once.logits[..., order], moved.logits)
    close(once.prototypes[:, order], moved.prototypes)
    close(once.dependencies[:, order][:, :, order], moved.dependencies)


def test_permutes_with_supports_of_a_class(graph: ClassGraph, options: dict) -> None:
    support, query, _ = episodes()
    close(graph(support, query, **options).logits, graph(support.flip(2), query, **options).logits)


def test_alone_equals_in_a_batch(graph: ClassGraph, options: dict) -> None:
    support, query, _ = episodes()
    whole = graph(support, query, **options)
    for b in range(B):
        alone = {key: value[b : b + 1] if torch.is_tensor(value) else value for key, value in options.items()}
        close(whole.logits[b : b + 1], graph(support[b : b + 1], query[b : b + 1], **alone).logits)


def test_inductive_logits_do_not_depend_on_other_queries(graph: ClassGraph) -> None:
    support, query, _ = episodes()
    close(graph(support, query).logits[:, :1], graph(support, query[:, :1]).logits, 1e-5)


def test_joint_logits_do(graph: ClassGraph) -> None:
    support, query, _ = episodes()
    apart = graph(support, query[:, :1], joint=True).logits
    assert (graph(support, query, joint=True).logits[:, :1] - apart).abs().max() > 1e-3


def test_logits_depend_on_the_other_classes(graph: ClassGraph, options: dict) -> None:
    """Moving the supports of class 0 moves logit_1 - logit_2."""
    support, query, _ = episodes(k=1)
    moved = support.clone()
    moved[:, 0] += 1.0
    before, after = (graph(s, query, **options).logits for s in (support, moved))
    change = (before[..., 1] - before[..., 2]) - (after[..., 1] - after[..., 2])
    assert change.abs().max() > 1e-3


def test_prototypes_method_does_not() -> None:
    support, query, _ = episodes(k=1)
    moved = support.clone()
    moved[:, 0] += 1.0
    close(prototypes(support, query)[..., 1:], prototypes(moved, query)[..., 1:], 1e-6)


def test_returned_dependencies_are_the_coefficients_used(graph: ClassGraph) -> None:
    support, query, _ = episodes(k=1)
    out = graph(support, query)
    nodes = normalize(support[:, :, 0])
    refined = normalize(nodes + graph.refine.message * out.dependencies @ nodes)
    close(out.prototypes, refined, 1e-6)
    cosines = normalize(query) @ refined.transpose(1, 2)
    close(out.logits, out.scale[:, None, None] * cosines, 1e-4)


def test_sharper_for_nearer_classes() -> None:
    support = torch.tensor([[[[1.0, 0.0]], [[0.9, 0.1]], [[0.0, 1.0]]]])
    row = ClassGraph.pretrained()(support, torch.randn(1, 2, 2)).dependencies[0, 0]
    assert row[1] > row[2]


def test_never_worse_than_prototypes_before_training() -> None:
    support, query, labels = episodes(b=400, k=5, d=64, spread=3.0)
    graph = ClassGraph().eval()
    with torch.no_grad():
        plain = (prototypes(support, query).argmax(-1) == labels).float().mean(1)
        for joint in (False, True):
            ours = (graph(support, query, joint=joint).logits.argmax(-1) == labels).float().mean(1)
            difference = ours - plain
            assert difference.mean() > -1.96 * difference.std() / math.sqrt(len(difference))


def test_wrong_labels_are_doubted_and_right_ones_are_not() -> None:
    generator = torch.Generator().manual_seed(8)
    support, query, labels = episodes(b=200, k=5, d=64, spread=1.5)
    noisy = support.clone()
    for shot in (0, 1):  # two of five supports come from another class
        step = torch.randint(1, N, (200, N), generator=generator)
        source = (torch.arange(N) + step) % N
        fresh = episodes(b=200, k=5, d=64, spread=1.5)[0][:, :, 2 + shot]
        noisy[:, :, shot] = fresh.gather(1, source[..., None].expand(-1, -1, 64))
    graph = ClassGraph.pretrained()

    def accuracy(logits: torch.Tensor) -> float:
        return (logits.argmax(-1) == labels).float().mean().item()

    assert accuracy(graph(noisy, query).logits) > accuracy(prototypes(noisy, query)) + 0.02
    assert accuracy(graph(support, query).logits) > accuracy(prototypes(support, query)) - 0.002


@pytest.mark.parametrize("shot", [1, 3])
def test_images_fewer_than_features_are_classified_alike_in_their_own_coordinates(shot: int):
    graph, generator = ClassGraph.pretrained().double(), torch.Generator().manual_seed(0)
    centres = torch.randn(2, 4, 1, 200, generator=generator).double()
    support = centres + torch.randn(2, 4, shot, 200, generator=generator)
    query = centres.expand(-1, -1, 5, -1).flatten(1, 2) + torch.randn(2, 20, 200, generator=generator)
    mask = torch.arange(20) < torch.tensor([[20], [13]])
    found = graph(support, query, joint=True, query_mask=mask)
    query.requires_grad_()  # so that all is computed with the features themselves
    exact = graph(support, query, joint=True, query_mask=mask)
    for one, other in zip(found, exact, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
