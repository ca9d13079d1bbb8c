"""Known classes as further nodes: every sentence of their contract."""

import pytest
import torch
from clusters import MODES, B, D, K, M, N, close, episodes, relatives
from torch import Tensor

from fewshot.core.taxonomy import shuffled
from fewshot.graph.class_graph import ClassGraph, GraphOutput
from fewshot.graph.vectors import normalize

C = 12


@pytest.fixture(scope="module")
def told() -> dict[str, Tensor]:
    return relatives(episodes()[0], C)


def same(a: GraphOutput, b: GraphOutput, tolerance: float = 1e-4) -> None:
    for name in ("logits", "prototypes", "dependencies", "known_dependencies", "belief"):
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None), name
        if x is not None:
            close(x, y, tolerance)


def test_rows_sum_to_one_and_belief_is_a_share(graph: ClassGraph, options: dict, told: dict) -> None:
    support, query, _ = episodes()
    out = graph(support, query, **told, **options)
    assert out.known_dependencies.shape == (B, N, C)
    close(out.known_dependencies.sum(-1), torch.ones(B, N), 1e-5)
    assert ((out.belief >= 0) & (out.belief <= 1)).all()
    assert (out.logits - graph(support, query, **options).logits).abs().max() > 1e-3


def test_scale_and_offset_of_relations_change_nothing(graph: ClassGraph, options: dict, told: dict) -> None:
    support, query, _ = episodes()
    once = graph(support, query, **told, **options)
    changed = {
        **told,
        "relations": 40 * told["relations"] - 7,
        "known_relations": 3 * told["known_relations"] + 2,
    }
    same(once, graph(support, query, **changed, **options), 2e-3)


def test_order_of_known_classes_changes_nothing(graph: ClassGraph, options: dict, told: dict) -> None:
    support, query, _ = episodes()
    order = torch.randperm(C, generator=torch.Generator().manual_seed(1))
    moved = {
        "known": told["known"][order],
        "relations": told["relations"][..., order],
        "known_relations": told["known_relations"][order][:, order],
    }
    once, other = graph(support, query, **told, **options), graph(support, query, **moved, **options)
    close(once.logits, other.logits)
    close(once.known_dependencies[..., order], other.known_dependencies)


def test_nan_or_constant_throughout_is_without(graph: ClassGraph, options: dict, told: dict) -> None:
    support, query, _ = episodes()
    without = graph(support, query, unknown=True, **options)
    assert without.known_dependencies is None
    assert without.belief is None
    for nothing in (torch.full((N, C), torch.nan), torch.full((B, N, C), 0.3)):
        out = graph(support, query, known=told["known"], relations=nothing, unknown=True, **options)
        close(out.logits, without.logits, 1e-5)
        close(out.unknown, without.unknown, 1e-5)
        assert (out.known_dependencies == 0).all()
        assert (out.belief == 0).all()
    ignored = graph(support, query, **told, belief=0.0, **options)
    close(ignored.logits, graph(support, query, **options).logits, 1e-5)


def test_a_row_of_nan_has_no_relations(graph: ClassGraph, options: dict, told: dict) -> None:
    support, query, _ = episodes()
    some = told["relations"].clone()
    some[:, 2] = torch.nan
    out = graph(support, query, **{**told, "relations": some}, **options)
    assert (out.known_dependencies[:, 2] == 0).all()
    assert (out.belief[:, 2] == 0).all()
    assert (out.known_dependencies[:, [0, 1, 3, 4]].sum(-1) > 0.99).all()
    assert out.logits.isfinite().all()


def test_rotation_of_features_and_known_together(graph: ClassGraph, options: dict, told: dict) -> None:
    support, query, _ = episodes()
    turn = torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(2)))[0]
    once = graph(support, query, **told, **options)
    turned = graph(support @ turn, query @ turn, **{**told, "known": told["known"] @ turn}, **options)
    close(once.logits, turned.logits)
    close(once.prototypes @ turn, turned.prototypes)


def test_permutes_with_classes_and_queries(graph: ClassGraph, options: dict, told: dict) -> None:
    support, query, _ = episodes()
    order, queries = torch.tensor([3, 0, 4, 1, 2]), torch.arange(M - 1, -1, -1)
    once = graph(support, query, **told, unknown=True, **options)
    moved = {**told, "relations": told["relations"][:, order]}
    other = graph(support[:, order], query[:, queries], **moved, unknown=True, **options)
    close(once.logits[:, queries][..., order], other.logits)
    close(once.belief[:, order], other.belief)
    close(once.unknown[:, queries], other.unknown)


def test_alone_equals_in_a_batch(graph: ClassGraph, options: dict, told: dict) -> None:
    support, query, _ = episodes()
    whole = graph(support, query, **told, unknown=True, **options)
    for b in range(B):
        alone = {key: x[b : b + 1] if torch.is_tensor(x) else x for key, x in options.items()}
        mine = {**told, "relations": told["relations"][b]}
        out = graph(support[b : b + 1], query[b : b + 1], **mine, unknown=True, **alone)
        close(whole.logits[b : b + 1], out.logits)
        close(whole.unknown[b : b + 1], out.unknown)


@pytest.mark.parametrize("mode", MODES)
def test_padded_equals_unpadded(graph: ClassGraph, mode: str, told: dict) -> None:
    support, query, _ = episodes()
    junk = torch.Generator().manual_seed(4)
    wide = torch.randn(B, N + 2, K + 3, D, generator=junk)
    wide[:, :N, :K] = support
    long = torch.cat([query, torch.randn(B, 7, D, generator=junk)], 1)
    shots = torch.zeros(B, N + 2, K + 3, dtype=torch.bool)
    shots[:, :, :K] = True
    masks = {
        "support_mask": shots,
        "class_mask": torch.arange(N + 2).expand(B, -1) < N,
        "query_mask": torch.arange(M + 7).expand(B, -1) < M,
    }
    options = dict(MODES[mode])
    padded = {**options, "proportions": torch.full((B, N + 2), 1 / N)} if mode == "known" else options
    more = {**told, "relations": torch.cat([told["relations"], torch.randn(B, 2, C, generator=junk)], 1)}
    plain = graph(support, query, **told, unknown=True, **options)
    out = graph(wide, long, **masks, **more, unknown=True, **padded)
    close(out.logits[:, :M, :N], plain.logits)
    close(out.belief[:, :N], plain.belief)
    close(out.unknown[:, :M], plain.unknown)
    assert (out.known_dependencies[:, N:] == 0).all()


def test_sparse_with_all_known_classes_is_dense(graph: ClassGraph, options: dict, told: dict) -> None:
    support, query, _ = episodes()
    most = max(C, N - 1)
    sparse = graph(support, query, **told, neighbours=most, **options)
    full = graph(support, query, **told, **options)
    close(sparse.logits, full.logits)
    close(sparse.known_dependencies, full.known_dependencies)
    few = graph(support, query, **told, neighbours=3, **options)
    assert ((few.known_dependencies > 0).sum(-1) == 3).all()
    close(few.known_dependencies.sum(-1), torch.ones(B, N), 1e-5)


def test_a_zero_shot_class_takes_part(told: dict) -> None:
    """Without any image, a class is recognised by what it hears, and the others stay in the game."""
    support, query, labels = episodes(spread=0.5)
    told = relatives(support, 30, noise=0.0)
    mask = torch.ones(B, N, K, dtype=torch.bool)
    mask[:, 1] = False
    graph = ClassGraph.pretrained()
    classes = torch.ones(B, N, dtype=torch.bool)
    found = graph(support, query, **told, support_mask=mask, class_mask=classes).logits
    assert found.isfinite().all()
    accuracy = (found.argmax(-1) == labels).float()
    assert accuracy[labels == 1].mean() > 0.5
    assert accuracy[labels != 1].mean() > 0.5
    without = graph(support, query, support_mask=mask, class_mask=classes).logits
    assert (without[..., 1] == -torch.inf).all()


def test_sharp_edges_copy_the_prototype_of_the_one_relative() -> None:
    """A closed form: a class without supports that has one relative has its prototype."""
    graph = ClassGraph.pretrained().requires_grad_(False)
    graph.neighbours.listen.log_sharpness.fill_(4.0)
    graph.refine.message.fill_(0.0)
    known = normalize(torch.randn(8, D, generator=torch.Generator().manual_seed(5)))
    relations = torch.eye(8)[:N].expand(1, N, 8)
    nothing = torch.zeros(1, N, 1, dtype=torch.bool)
    out = graph(torch.zeros(1, N, 1, D), known[None, :N], known=known, relations=relations,
                support_mask=nothing, class_mask=torch.ones(1, N, dtype=torch.bool), belief=1.0)  # fmt: skip
    close(out.prototypes[0], known[:N], 1e-5)
    assert (out.logits[0].argmax(-1) == torch.arange(N)).all()


def test_true_relations_help_and_false_ones_are_not_believed() -> None:
    """Made-up clusters and relations of a tree: 8 branches of 6 known classes and 4 new ones each."""
    generator = torch.Generator().manual_seed(6)
    d, branches, each = 64, 8, 10
    top = torch.randn(branches, 1, d, generator=generator)
    centres = (top + torch.randn(branches, each, d, generator=generator)).flatten(0, 1)
    new = torch.arange(branches * each).view(branches, each)[:, :4].flatten()
    old = torch.arange(branches * each).view(branches, each)[:, 4:].flatten()
    branch = torch.arange(branches).repeat_interleave(each)
    relations = (branch[new][:, None] == branch[old]).float()
    graph, hits = ClassGraph.pretrained(), {}
    classes = torch.rand(200, len(new), generator=generator).argsort(1)[:, :5]
    support = centres[new[classes]][:, :, None] + 3 * torch.randn(200, 5, 1, d, generator=generator)
    labels = torch.arange(5).repeat(6).expand(200, -1)
    query = centres[new[classes.gather(1, labels)]] + 3 * torch.randn(200, 30, d, generator=generator)
    kinds = {"true": relations, "false": relations[shuffled(len(new), 0)]}
    for name, rows in {"none": None, **kinds}.items():
        told = {} if rows is None else {"known": centres[old], "relations": rows[classes]}
        out = graph(support, query, **told)
        hits[name] = 100 * (out.logits.argmax(-1) == labels).float().mean().item()
        if name != "none":
            hits[f"belief in {name}"] = out.belief.mean().item()
    assert hits["true"] > hits["none"] + 3
    assert hits["false"] > hits["none"] - 2
    assert hits["belief in true"] > 0.7 > 0.3 > hits["belief in false"]


def test_strangers_have_higher_odds_of_none_of_these() -> None:
    support, query, labels = episodes(b=20, spread=0.7)
    graph, known = ClassGraph.pretrained(), labels < 3
    for joint in (False, True):
        out = graph(support[:, :3], query, joint=joint, unknown=True)
        assert out.unknown.shape == labels.shape
        assert out.unknown[~known].mean() > out.unknown[known].mean() + 1
        assert graph(support[:, :3], query, joint=joint).unknown is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"relations": None}, "relations: expected together with known, got None"),
        ({"known": None}, "known: expected together with relations, got None"),
        ({"known": torch.zeros(C, D + 1)}, rf"known: expected floats \[C, D\] with D = {D}"),
        (
            {"relations": torch.zeros(N, C + 1)},
            rf"relations: expected floats \[{N}, {C}\] or \[{B}, {N}, {C}\]",
        ),
        (
            {"relations": torch.full((N, C), torch.inf)},
            "relations: expected numbers, or rows of nan, got infinity",
        ),
        ({"relations": torch.tensor([torch.nan] + [0.0] * (N * C - 1)).view(N, C)}, "a row with some nan"),
        ({"known": torch.full((C, D), torch.nan)}, "known: expected finite numbers"),
        ({"known_relations": torch.zeros(C, C + 1)}, "known_relations: expected floats"),
        ({"belief": 1.5}, "belief: expected a number from 0 to 1, or None to judge it, got 1.5"),
    ],
)
def test_errors_name_the_argument(arguments: dict, message: str, told: dict) -> None:
    support, query, _ = episodes()
    given = {"known": told["known"], "relations": told["relations"], **arguments}
    with pytest.raises(ValueError, match=message):
        ClassGraph()(support, query, **given)
