"""The class graph: every promise of its contract."""

import math

import pytest
import torch
from safetensors.torch import save
from torch.utils._python_dispatch import TorchDispatchMode
from torch_geometric import EdgeIndex
from torch_geometric.nn import MessagePassing

from fewshot.graph.class_graph import ClassGraph
from fewshot.graph.conv import ClassGraphConv
from fewshot.graph.relations import Edges
from fewshot.graph.vectors import PIECE, normalize
from fewshot.methods.prototypes import prototypes

B, N, K, M, D = 3, 5, 4, 30, 24
MODES = {
    "inductive": {},
    "joint": {"joint": True},
    "known": {"joint": True, "proportions": torch.full((B, N), 1 / N)},
}


def episodes(
    b: int = B, n: int = N, k: int = K, m: int = M, d: int = D, spread: float = 1.0, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Clustered features: support [b, n, k, d], query [b, m, d], labels [b, m]."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(b, n, d, generator=generator)
    support = centres[:, :, None] + spread * torch.randn(b, n, k, d, generator=generator)
    labels = torch.arange(m).remainder(n)[torch.rand(b, m, generator=generator).argsort(1)]
    query = centres.gather(1, labels[..., None].expand(-1, -1, d))
    return support, query + spread * torch.randn(b, m, d, generator=generator), labels


@pytest.fixture(scope="module", params=["initial", "pretrained", "random"])
def graph(request: pytest.FixtureRequest) -> ClassGraph:
    """What holds must hold for any weights."""
    if request.param == "pretrained":
        return ClassGraph.pretrained().requires_grad_(False)
    graph = ClassGraph()
    if request.param == "random":
        generator = torch.Generator().manual_seed(1)
        for parameter in graph.parameters():
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return graph.requires_grad_(False).eval()


@pytest.fixture(params=MODES)
def options(request: pytest.FixtureRequest) -> dict:
    return MODES[request.param]


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-4) -> None:
    torch.testing.assert_close(a, b, atol=tolerance, rtol=0)


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
    refined = normalize(nodes + graph.message * out.dependencies @ nodes)
    close(out.prototypes, refined, 1e-6)
    crowd = (nodes * (out.dependencies @ nodes)).sum(-1)
    cosines = normalize(query) @ refined.transpose(1, 2) - graph.crowding * crowd[:, None]
    close(out.logits, graph.head.log_scale.exp() * cosines, 1e-4)


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


# --- masks


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


# --- evidence, proportions, prior


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


# --- sparse


def dense(edges: Edges) -> torch.Tensor:
    weights = torch.zeros(B, N, N)
    source, target = edges.edge_index
    weights[target // N, target % N, source % N] = edges.weight
    assert (source // N == target // N).all()  # no edge between episodes
    return weights


def test_sparse_equals_dense_with_all_neighbours(graph: ClassGraph, options: dict) -> None:
    support, query, _ = episodes()
    full, sparse = graph(support, query, **options), graph(support, query, neighbours=N - 1, **options)
    close(full.logits, sparse.logits, 1e-5)
    close(full.prototypes, sparse.prototypes, 1e-5)
    close(full.dependencies, dense(sparse.dependencies), 1e-5)


def test_sparse_equals_dense_with_masks_and_evidence(graph: ClassGraph, options: dict) -> None:
    support, query, _ = episodes()
    mask = torch.rand(B, N, K, generator=torch.Generator().manual_seed(5)) > 0.3
    mask[:, :, 0] = True
    mask[0, 4] = False  # a class without supports
    evidence = torch.full((B, N), torch.nan)
    evidence[:, 1], evidence[:, 2] = 0.0, 1.0
    shared = {"support_mask": mask, "evidence": evidence, **options}
    full, sparse = graph(support, query, **shared), graph(support, query, neighbours=N - 1, **shared)
    torch.testing.assert_close(full.logits, sparse.logits, atol=1e-5, rtol=0)
    close(full.dependencies, dense(sparse.dependencies), 1e-5)


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
    monkeypatch.setattr("fewshot.graph.class_graph.PIECE", piece)
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


# --- label noise


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


# --- saving, errors, gradients


def test_save_and_load(tmp_path, graph: ClassGraph) -> None:
    graph.save_pretrained(tmp_path / "graph")
    again = ClassGraph.from_pretrained(tmp_path / "graph")
    support, query, _ = episodes()
    assert torch.equal(graph(support, query, joint=True).logits, again(support, query, joint=True).logits)
    assert sorted(p.name for p in (tmp_path / "graph").iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", None),
        ("config.json", b"{"),
        ("config.json", b"[8]"),
        ("config.json", b'{"steps": "8"}'),
        ("config.json", b'{"steps": 0}'),
        ("config.json", b'{"rounds": 8}'),
        ("model.safetensors", None),
        ("model.safetensors", b""),
        ("model.safetensors", b"\x10\x00\x00\x00\x00\x00\x00\x00{}"),
        ("model.safetensors", save({"message": torch.tensor(0.0)})),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path, name: str, content: bytes | None) -> None:
    ClassGraph().save_pretrained(tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(
        ValueError, match=r"^folder: expected config\.json and model\.safetensors of a"
    ) as error:
        ClassGraph.from_pretrained(tmp_path)
    assert "\n" not in str(error.value)


def test_saving_again_replaces_both_files(tmp_path) -> None:
    ClassGraph(steps=5).save_pretrained(tmp_path)
    ClassGraph(steps=3).save_pretrained(tmp_path)
    assert ClassGraph.from_pretrained(tmp_path).steps == 3
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"support": torch.zeros(B, N, D)},
            r"support: expected floats \[B, N, K, D\], got float32 \[3, 5, 24\]",
        ),
        (
            {"query": torch.zeros(B, M, D + 1)},
            r"query: expected floats \[B, M, D\] with B = 3 and D = 24, got",
        ),
        ({"query": torch.zeros(B, M, D).int()}, r"query: .* got int32 \[3, 30, 24\]"),
        ({"support_mask": torch.ones(B, N, dtype=torch.bool)}, r"support_mask: expected bool \[3, 5, 4\]"),
        ({"class_mask": torch.ones(B, N)}, r"class_mask: expected bool \[3, 5\], got float32 \[3, 5\]"),
        ({"query_mask": torch.ones(B, N, dtype=torch.bool)}, r"query_mask: expected bool \[3, 30\]"),
        ({"evidence": torch.zeros(N)}, r"evidence: expected floats \[3, 5\], got float32 \[5\]"),
        ({"proportions": torch.zeros(B, N + 1)}, r"proportions: expected floats \[3, 5\]"),
        ({"prior": torch.zeros(N)}, r"prior: expected \[5, 5\] or \[3, 5, 5\], got float32 \[5\]"),
        ({"neighbours": 0}, "neighbours: expected at least 1, or None for all classes, got 0"),
        (
            {"neighbours": torch.zeros(N, 2)},
            r"neighbours: expected int64 \[B, N, k\] with B = 3 and N = 5, got float32 \[5, 2\]",
        ),
        (
            {"neighbours": torch.zeros(B, N, 1, dtype=torch.int64)},
            "neighbours: expected other classes from 0 to 4, or -1 for none",
        ),
        (
            {"neighbours": torch.full((B, N, 1), N)},
            "neighbours: expected other classes from 0 to 4, or -1 for none",
        ),
    ],
)
def test_errors_name_the_argument(arguments: dict, message: str) -> None:
    support, query, _ = episodes()
    with pytest.raises(ValueError, match=message):
        ClassGraph()(**{"support": support, "query": query, **arguments})


def test_every_parameter_learns() -> None:
    support, query, labels = episodes(spread=2.0)
    graph = ClassGraph()
    evidence = torch.full((B, N), torch.nan)
    evidence[:, 0] = 1.0
    loss = 0.0
    for options in ({"evidence": evidence}, {"joint": True, "evidence": evidence}, MODES["known"]):
        logits = graph(support, query, prior=torch.rand(N, N), **options).logits
        loss = loss + torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
    loss.backward()
    for name, parameter in graph.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert (parameter.grad != 0).any(), name


def test_absence_leaves_gradients_finite() -> None:
    support, query, _ = episodes()
    support.requires_grad_()
    evidence = torch.full((B, N), torch.nan)
    evidence[:, 0] = 0.0
    mask = torch.ones(B, N, K, dtype=torch.bool)
    mask[:, 1, 1:] = False
    logits = ClassGraph()(support, query, joint=True, evidence=evidence, support_mask=mask).logits
    logits[..., 1:].softmax(-1)[..., 0].sum().backward()
    assert support.grad.isfinite().all()


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_other_precisions_are_computed_in_the_graphs_own(graph: ClassGraph, kind: torch.dtype) -> None:
    support, query, _ = (x.to(kind) if x.is_floating_point() else x for x in episodes())
    shares = torch.full((B, N), 1 / N, dtype=torch.float64)
    out = graph(support, query, joint=True, proportions=shares)
    again = graph(support.float(), query.float(), joint=True, proportions=shares.float())
    close(out.logits, again.logits, 1e-6)


@pytest.mark.parametrize("d", [16, 600])
def test_the_graph_itself_may_be_in_half_precision(d: int) -> None:
    support, query, _ = episodes(d=d)
    out = ClassGraph.pretrained().bfloat16()(support, query, joint=True)
    exact = ClassGraph.pretrained()(support, query, joint=True)
    assert (out.logits.float().softmax(-1) - exact.logits.softmax(-1)).abs().max() < 0.2


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


def test_sparse_with_a_single_class(graph: ClassGraph) -> None:
    support, query, _ = episodes(n=1)
    dense_logits = graph(support, query, joint=True).logits
    close(graph(support, query, joint=True, neighbours=1).logits, dense_logits)


@pytest.mark.parametrize("shares", [[0.5, -0.1, 0.2, 0.2, 0.2], [0.0] * N, [math.nan] * N])
def test_proportions_must_be_shares(shares: list[float]) -> None:
    support, query, _ = episodes()
    with pytest.raises(ValueError, match="proportions: expected shares from 0 up and not all 0"):
        ClassGraph()(support, query, proportions=torch.tensor(shares).expand(B, N))


def test_spread_is_suppressed_alike_by_products_and_by_the_covariance(monkeypatch):
    """Few features and many queries take the covariance; what is traced takes products, of any sizes."""
    generator = torch.Generator().manual_seed(0)
    support, query = (torch.randn(2, *shape, 6, generator=generator) for shape in ((3, 2), (200,)))
    graph = ClassGraph.pretrained()
    found = graph(support, query, joint=True)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.testing.assert_close(graph(support, query, joint=True).logits, found.logits, atol=1e-4, rtol=1e-4)


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
