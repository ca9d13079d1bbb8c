"""Saving and loading, what is refused, precisions and gradients."""

import pytest
import torch
from clusters import MODES, B, D, K, M, N, close, episodes, relatives
from safetensors.torch import save

from fewshot.graph.class_graph import ClassGraph


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
    assert ClassGraph.from_pretrained(tmp_path).config == {"steps": 3}
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
    told, looks = relatives(support), relatives(support, known_relations=False)
    for options in (
        {"evidence": evidence},
        {"joint": True, "evidence": evidence},
        MODES["known"],
        {**told, "unknown": True},
        {**looks, "unknown": True, "joint": True},
        {**looks, "belief": 1.0},
    ):
        out = graph(support, query, prior=torch.rand(N, N), **options)
        loss = loss + torch.nn.functional.cross_entropy(out.logits.flatten(0, 1), labels.flatten())
        loss = loss if out.unknown is None else loss + out.unknown.sigmoid().mean()
    tight = episodes(spread=0.5)[0][:, :, :1]  # what a single support is worth shows in how it relates
    one = graph(tight, query, **relatives(tight, 60)).logits
    loss = loss + torch.nn.functional.cross_entropy(one.flatten(0, 1), labels.flatten())
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
