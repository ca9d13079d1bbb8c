"""Sparse edges give what dense ones give, and build no matrix of classes."""

from copy import deepcopy

import pytest
import torch
from clusters import B, K, N, close, dense, episodes
from torch.utils._python_dispatch import TorchDispatchMode

from fewshot.graph.class_graph import ClassGraph
from fewshot.graph.vectors import PIECE, normalize


def test_sparse_equals_dense_with_all_neighbours(graph: ClassGraph, options: dict) -> None:
    support, query, _ = episodes()
    full, sparse = graph(support, query, **options), graph(support, query, neighbours=N - 1, **options)
    close(full.logits, sparse.logits, 1e-5)
    close(full.prototypes, sparse.prototypes, 1e-5)
    close(full.dependencies, dense(sparse.dependencies), 1e-5)


def test_sparse_equals_dense_with_masks_and_evidence(graph: ClassGraph, options: dict) -> None:
    graph = deepcopy(graph).double()
    support, query = (x.double() for x in episodes()[:2])
    mask = torch.rand(B, N, K, generator=torch.Generator().manual_seed(5)) > 0.3
    mask[:, :, 0] = True
    mask[0, 4] = False  # a class without supports
    evidence = torch.full((B, N), torch.nan)
    evidence[:, 1], evidence[:, 2] = 0.0, 1.0
    shared = {"support_mask": mask, "evidence": evidence, **options}
    full, sparse = graph(support, query, **shared), graph(support, query, neighbours=N - 1, **shared)
    torch.testing.assert_close(full.logits, sparse.logits, atol=1e-9, rtol=0)
    close(full.dependencies, dense(sparse.dependencies), 1e-9)


@pytest.mark.parametrize(("n", "k"), [(1000, 1), (300, 2)])
@pytest.mark.parametrize("options", [{}, {"joint": True}], ids=["inductive", "joint"])
def test_sparse_equals_dense_for_many_classes(n: int, k: int, options: dict) -> None:
    """In double precision, as the rounds of the joint mode can make much of a rounding error, dense too."""
    support, query, _ = episodes(b=1, n=n, k=k, m=100, d=16)
    graph = ClassGraph.pretrained().requires_grad_(False)
    for kind in (torch.float64,) if options else (torch.float32, torch.float64):
        graph, inputs = graph.to(kind), (support.to(kind), query.to(kind))
        full, sparse = graph(*inputs, **options), graph(*inputs, neighbours=n - 1, **options)
        close(full.logits, sparse.logits, 1e-5)
        close(full.prototypes, sparse.prototypes, 1e-5)
        source, target = sparse.dependencies.edge_index
        assert len(source) == n * (n - 1)
        close(full.dependencies[0, target, source], sparse.dependencies.weight, 1e-5)


@pytest.mark.parametrize("piece", [0, 2**20])  # sums in one pass, and message by message
def test_sparse_has_the_gradients_of_dense(
    options: dict, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fewshot.graph.edges.PIECE", piece)
    support, query, labels = episodes()
    prior, graph = torch.rand(N, N), ClassGraph.pretrained()
    evidence = torch.tensor([1.0, torch.nan, torch.nan, torch.nan, torch.nan]).expand(B, N)
    inputs = [support.requires_grad_(), query.requires_grad_(), *graph.parameters()]
    found = []
    for neighbours in (None, N - 1):
        out = graph(support, query, prior=prior, evidence=evidence, neighbours=neighbours, **options)
        loss = torch.nn.functional.cross_entropy(out.logits.flatten(0, 1), labels.flatten())
        found.append(torch.autograd.grad(loss, inputs, allow_unused=True))
    for full, sparse in zip(*found, strict=True):
        assert (full is None) == (sparse is None)
        if full is not None:
            close(full, sparse, 1e-5)


def test_given_neighbours_are_those_that_are_listened_to(graph: ClassGraph, options: dict) -> None:
    support, query, _ = episodes()
    every = torch.arange(1, N) + torch.arange(N)[:, None]
    ring = (every % N).expand(B, N, N - 1)
    close(graph(support, query, **options).logits, graph(support, query, neighbours=ring, **options).logits)
    one = ring[..., :2].clone()
    one[..., 1] = -1
    out = graph(support, query, neighbours=one, **options)
    close(dense(out.dependencies), torch.eye(N).roll(1, 1).expand(B, N, N), 1e-6)


def test_given_neighbours_that_are_absent_are_not_heard(graph: ClassGraph) -> None:
    support, query, _ = episodes()
    ring = ((torch.arange(1, 3) + torch.arange(N)[:, None]) % N).expand(B, N, 2)
    evidence = torch.full((B, N), torch.nan)
    evidence[:, 1] = 0.0
    heard = dense(graph(support, query, neighbours=ring, evidence=evidence).dependencies)
    assert (heard[..., 1] == 0).all()
    close(heard[:, 0, 2], torch.ones(B), 1e-6)


class Largest(TorchDispatchMode):
    """How many numbers the largest tensor has that any operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple | list) else (out,):
            if isinstance(x, torch.Tensor) and 0 not in x.stride():  # not a view that repeats itself
                self.numel = max(self.numel, x.numel())
        return out


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("k", [1, 3])
def test_many_classes_never_build_a_matrix_of_classes(joint: bool, k: int) -> None:
    """Nothing is larger than the largest of the logits, the messages of one neighbour, and a piece."""
    n, m, d = 3000, 20, 16
    support, query, _ = episodes(b=1, n=n, k=k, m=m, d=d)
    evidence = torch.ones(1, n)
    evidence[:, ::7] = 0.0
    graph = ClassGraph.pretrained().requires_grad_(False)
    with Largest() as largest:
        graph(support, query, joint=joint, neighbours=5, evidence=evidence)
    assert largest.numel <= max(PIECE, n * m, n * k * d)


def test_few_neighbours_are_the_most_similar(graph: ClassGraph) -> None:
    support, query, _ = episodes(k=1)
    edges = graph(support, query, neighbours=2).dependencies
    assert edges.edge_index.shape == (2, B * N * 2)
    cosine = normalize(support[:, :, 0]) @ normalize(support[:, :, 0]).transpose(1, 2)
    cosine.diagonal(dim1=1, dim2=2).fill_(-2)
    best = cosine.topk(2).indices.sort().values
    found = dense(edges).topk(2).indices.sort().values
    assert (best == found).all()


def test_sparse_with_a_single_class(graph: ClassGraph) -> None:
    support, query, _ = episodes(n=1)
    dense_logits = graph(support, query, joint=True).logits
    close(graph(support, query, joint=True, neighbours=1).logits, dense_logits)
