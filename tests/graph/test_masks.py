"""Padding, absent classes, known shares and priors."""

import math

import pytest
import torch
from clusters import MODES, B, D, K, M, N, close, dense, episodes

from fewshot.graph.class_graph import ClassGraph
from fewshot.graph.edges import Edges


@pytest.mark.parametrize("mode", MODES)
def test_padded_equals_unpadded(graph: ClassGraph, mode: str) -> None:
    support, query, _ = episodes()
    junk = torch.Generator().manual_seed(4)
    padded_support = torch.randn(B, N + 2, K + 3, D, generator=junk)
    padded_support[:, :N, :K] = support
    padded_query = torch.cat([query, torch.randn(B, 7, D, generator=junk)], 1)
    support_mask = torch.zeros(B, N + 2, K + 3, dtype=torch.bool)
    support_mask[:, :, :K] = True
    class_mask = torch.arange(N + 2).expand(B, -1) < N
    query_mask = torch.arange(M + 7).expand(B, -1) < M
    options, padded_options = dict(MODES[mode]), dict(MODES[mode])
    if mode == "known":
        padded_options["proportions"] = torch.full((B, N + 2), 1 / N)
    plain = graph(support, query, **options)
    masks = {"support_mask": support_mask, "class_mask": class_mask, "query_mask": query_mask}
    padded = graph(padded_support, padded_query, **masks, **padded_options)
    close(padded.logits[:, :M, :N], plain.logits)
    close(padded.prototypes[:, :N], plain.prototypes)
    close(padded.dependencies[:, :N, :N], plain.dependencies)
    assert (padded.logits[..., N:] == -torch.inf).all()
    assert (padded.dependencies[:, :, N:] == 0).all()
    assert (padded.dependencies[:, N:] == 0).all()


def test_shots_may_differ_between_classes(graph: ClassGraph, options: dict) -> None:
    """A class with one support beside classes with four, as one batch with an episode of four each."""
    support, query, _ = episodes()
    mask = torch.ones(B, N, K, dtype=torch.bool)
    mask[0, 2, 1:] = False
    mixed = graph(support, query, support_mask=mask, **options).logits
    assert mixed.isfinite().all()
    close(mixed[1:], graph(support, query, **options).logits[1:])


def test_single_class_has_an_empty_row(graph: ClassGraph, options: dict) -> None:
    support, query, _ = episodes(n=1)
    one = {key: value[:, :1] * N if torch.is_tensor(value) else value for key, value in options.items()}
    out = graph(support, query, **one)
    assert (out.dependencies == 0).all()
    assert out.logits.isfinite().all()


def test_absent_class_is_excluded_and_moves_the_others(graph: ClassGraph, options: dict) -> None:
    support, query, _ = episodes()
    evidence = torch.full((B, N), torch.nan)
    evidence[:, 0] = 0.0
    before, after = graph(support, query, **options), graph(support, query, evidence=evidence, **options)
    assert (after.logits[..., 0] == -torch.inf).all()
    assert (after.dependencies[..., 0] == 0).all()
    close(after.dependencies.sum(-1), torch.ones(B, N))
    gap = (before.logits - after.logits)[..., 1:]
    assert (
        gap - gap.mean(-1, keepdim=True)
    ).abs().max() > 1e-4  # more than a constant, which softmax ignores


def test_present_class_moves_the_others(graph: ClassGraph) -> None:
    support, query, _ = episodes()
    evidence = torch.full((B, N), torch.nan)
    evidence[:, 0] = 1.0
    for joint in (False, True):
        before = graph(support, query, joint=joint).logits
        after = graph(support, query, joint=joint, evidence=evidence).logits
        if not joint:
            assert (after - before)[..., 0].mean() > (after - before)[..., 1:].mean()
        assert ((before - after)[..., 1] - (before - after)[..., 2]).abs().max() > 1e-6


def test_unknown_evidence_changes_nothing(graph: ClassGraph, options: dict) -> None:
    support, query, _ = episodes()
    unknown = torch.full((B, N), torch.nan)
    close(
        graph(support, query, **options).logits,
        graph(support, query, evidence=unknown, **options).logits,
        1e-6,
    )


def test_all_absent_but_one(graph: ClassGraph, options: dict) -> None:
    support, query, _ = episodes()
    evidence = torch.zeros(B, N)
    evidence[:, 2] = 1.0
    logits = graph(support, query, evidence=evidence, **options).logits
    assert (logits.argmax(-1) == 2).all()
    assert logits[..., 2].isfinite().all()


def test_proportions_of_zero_are_absence(graph: ClassGraph) -> None:
    support, query, _ = episodes()
    shares = torch.tensor([0.5, 0.5, 0.0, 0.0, 0.0]).expand(B, N)
    logits = graph(support, query, joint=True, proportions=shares).logits
    assert (logits[..., 2:] == -torch.inf).all()
    assert logits[..., :2].isfinite().all()


def test_inductive_proportions_are_bayes_rule(graph: ClassGraph) -> None:
    support, query, _ = episodes()
    shares = torch.tensor([0.4, 0.3, 0.1, 0.1, 0.1]).expand(B, N)
    with_shares = graph(support, query, proportions=shares).logits.softmax(-1)
    bayes = graph(support, query).logits.softmax(-1) * shares[:, None]
    close(with_shares, bayes / bayes.sum(-1, keepdim=True), 1e-5)


def test_known_proportions_are_met() -> None:
    """With many queries, each class's mass comes near the share that was told, right or wrong."""
    support, query, _ = episodes(m=300, spread=2.0)
    shares = torch.tensor([0.4, 0.3, 0.1, 0.1, 0.1]).expand(B, N)
    graph = ClassGraph.pretrained()
    mass = graph(support, query, joint=True, proportions=shares).logits.softmax(-1).mean(1)
    close(mass, shares, 0.03)


def test_one_query_is_not_forced_to_be_balanced(graph: ClassGraph) -> None:
    support, query, _ = episodes(spread=0.3)
    shares = torch.full((B, N), 1 / N)
    alone = graph(support, query[:, :1], joint=True, proportions=shares).logits
    assert (alone.argmax(-1) == graph(support, query[:, :1]).logits.argmax(-1)).all()


@pytest.mark.parametrize("neighbours", [None, N - 1])
def test_raising_the_prior_raises_the_dependency(graph: ClassGraph, neighbours: int | None) -> None:
    support, query, _ = episodes()
    prior = torch.zeros(N, N)
    prior[1, 3] = 0.7

    def of(given: torch.Tensor) -> torch.Tensor:
        found = graph(support, query, prior=given, neighbours=neighbours).dependencies
        return dense(found) if isinstance(found, Edges) else found

    before, after = of(torch.zeros(N, N)), of(prior)
    assert (after[:, 1, 3] > before[:, 1, 3]).all()
    assert (after[:, 1, [0, 2, 4]] < before[:, 1, [0, 2, 4]]).all()
    close(after[:, [0, 2, 3, 4]], before[:, [0, 2, 3, 4]], 1e-6)
    close(of(prior), of(prior.expand(B, N, N)), 1e-6)


def test_padding_may_be_nan(graph: ClassGraph, options: dict) -> None:
    support, query, _ = episodes()
    mask = torch.ones(B, N, K, dtype=torch.bool)
    mask[:, 0, -1] = False
    query_mask = torch.arange(M).expand(B, -1) < M - 3
    masks = {"support_mask": mask, "query_mask": query_mask}
    clean = graph(support, query, **masks, **options).logits
    support, query = support.clone(), query.clone()
    support[:, 0, -1], query[:, -3:] = torch.nan, torch.nan
    close(graph(support, query, **masks, **options).logits[:, :-3], clean[:, :-3])


@pytest.mark.parametrize("shares", [[0.5, -0.1, 0.2, 0.2, 0.2], [0.0] * N, [math.nan] * N])
def test_proportions_must_be_shares(shares: list[float]) -> None:
    support, query, _ = episodes()
    with pytest.raises(ValueError, match="proportions: expected shares from 0 up and not all 0"):
        ClassGraph()(support, query, proportions=torch.tensor(shares).expand(B, N))
