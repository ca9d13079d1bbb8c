"""A model with known classes passes them on to its graph, and a checkpoint carries them."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fewshot import ClassGraph, GraphFewShot, InputError, KnownClasses, Transformed, backbones, taxonomy
from fewshot.model.predict import classify

D, C = 32, 7
PATHS = [("entity", "animal"[: 3 + c % 3], f"class {c}") for c in range(C)]


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.fixture
def model() -> GraphFewShot:
    """A model with a base mean, a transform and known classes near the features of its images."""
    torch.manual_seed(0)
    model = GraphFewShot(
        backbones.conv4(width=8),
        ClassGraph.pretrained(),
        base_mean=torch.randn(D) / 10,
        precision="32-true",
        known=KnownClasses(torch.randn(C, D), [f"class {c}" for c in range(C)], PATHS),
    )
    model(images(2, 3, 2, 3, 32, 32), images(2, 6, 3, 32, 32))  # updates the batch norms' statistics
    model.transform.fit(torch.rand(100, D))
    return model.eval()


SUPPORT, QUERY = images(2, 3, 2, 3, 32, 32), images(2, 6, 3, 32, 32, seed=1)
RELATIONS = torch.randn(3, C, generator=torch.Generator().manual_seed(2))


def encoded(model: GraphFewShot) -> tuple[Tensor, Tensor]:
    support, query = model.encode(SUPPORT.flatten(0, 2)), model.encode(QUERY.flatten(0, 1))
    return support.unflatten(0, (2, 3, 2)), query.unflatten(0, (2, 6))


@torch.no_grad()
@pytest.mark.parametrize("joint", [False, True])
def test_relations_reach_the_graph_with_the_models_known_classes(model: GraphFewShot, joint: bool) -> None:
    alike = model.known.prototypes @ model.known.prototypes.T
    options = {"joint": joint, "known_relations": alike, "belief": 0.7, "unknown": True}
    support, query = (model.transform(x) for x in encoded(model))
    known = {"known": model.known.prototypes, "relations": RELATIONS}
    expected = model.graph(support, query, **known, **options)
    whole = model(SUPPORT, QUERY, relations=RELATIONS, **options)
    alone = model.classify(*encoded(model), relations=RELATIONS, **options)
    for output in (whole, alone):
        for own, value in zip(output, expected, strict=True):
            torch.testing.assert_close(own, value, atol=1e-4, rtol=1e-4)
    without = model(SUPPORT, QUERY, joint=joint)
    assert without.belief is without.known_dependencies is without.unknown is None
    assert not torch.allclose(without.logits, whole.logits, atol=1e-2)
    nothing = model(SUPPORT, QUERY, joint=joint, relations=torch.full((3, C), torch.nan))
    torch.testing.assert_close(nothing.logits, without.logits, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_known_classes_that_are_given_come_before_the_models_own(model: GraphFewShot) -> None:
    other = torch.randn(4, D)
    given = {"known": other, "relations": RELATIONS[:, :4]}
    found = model(SUPPORT, QUERY, **given).known_dependencies
    support, query = (model.transform(x) for x in encoded(model))
    close(found, model.graph(support, query, **given).known_dependencies)
    model.known = None
    close(model(SUPPORT, QUERY, **given).known_dependencies, found)


@torch.no_grad()
def test_transformed_passes_known_classes_on_as_they_are() -> None:
    class Method(nn.Module):
        def forward(self, support: Tensor, query: Tensor, **options: Tensor) -> dict[str, Tensor]:
            return {"support": support, "query": query, **options}

    class Doubled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x

    known, relations = torch.randn(C, D), torch.randn(3, C)
    options = {"known": known, "relations": relations, "known_relations": known @ known.T}
    seen = Transformed(Doubled(), Method())(torch.ones(1, 3, 1, D), torch.ones(1, 2, D), **options)
    assert (seen["support"] == 2).all()
    assert (seen["query"] == 2).all()
    assert all(seen[name] is value for name, value in options.items())


def test_relations_without_known_classes_are_refused(model: GraphFewShot) -> None:
    model.known = None
    for call in (
        lambda: model(SUPPORT, QUERY, relations=RELATIONS),
        lambda: model.classify(*encoded(model), relations=RELATIONS),
    ):
        with pytest.raises(InputError, match=r"^relations: expected a model with known classes, or known="):
            call()
    with pytest.raises(ValueError, match=r"^relations: expected together with known"):
        model(SUPPORT, QUERY, known=torch.randn(4, D))


@torch.no_grad()
def test_a_checkpoint_carries_known_classes(model: GraphFewShot, tmp_path: Path) -> None:
    model.save(tmp_path / "model.pt")
    loaded = GraphFewShot.load(tmp_path / "model.pt")
    close(loaded.known.prototypes, model.known.prototypes)
    assert loaded.known.names == model.known.names
    assert loaded.known.paths == model.known.paths == tuple(PATHS)
    relations = taxonomy.similarity(PATHS[:3], loaded.known.paths)
    own, theirs = (m(SUPPORT, QUERY, relations=relations).logits for m in (model, loaded))
    torch.testing.assert_close(own, theirs, atol=1e-4, rtol=1e-4)
    assert not any("known" in name and "graph" not in name for name in model.state_dict())
    model.known = KnownClasses(torch.randn(2, D))
    model.save(tmp_path / "model.pt")
    assert GraphFewShot.load(tmp_path / "model.pt").known.paths is None


def test_a_checkpoint_without_the_key_has_no_known_classes(model: GraphFewShot, tmp_path: Path) -> None:
    model.save(tmp_path / "model.pt")
    content = torch.load(tmp_path / "model.pt", weights_only=True)
    del content["known"]
    torch.save(content, tmp_path / "old.pt")
    assert GraphFewShot.load(tmp_path / "old.pt").known is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"prototypes": torch.randn(C, D + 1)}, f"prototypes: expected {D} features, got {D + 1}"),
        ({"prototypes": torch.full((C, D), torch.nan)}, "prototypes: expected finite numbers"),
        ({"prototypes": torch.ones(C, D).long()}, ""),
        ({"names": ["a"]}, "names: expected one per class"),
        ({"paths": [["a"]]}, "paths: expected one per class"),
        ({"paths": 3}, ""),
    ],
)
def test_known_classes_that_do_not_fit_are_refused(
    model: GraphFewShot, tmp_path: Path, changed: dict[str, object], message: str
) -> None:
    model.save(tmp_path / "model.pt")
    content = torch.load(tmp_path / "model.pt", weights_only=True)
    content["known"] |= changed
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(InputError, match=rf"model\.pt: its known classes do not fit: {message}"):
        GraphFewShot.load(tmp_path / "model.pt")
    content["known"] = {"prototypes": torch.randn(C, D)}
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"known classes do not fit: KeyError: 'names'"):
        GraphFewShot.load(tmp_path / "model.pt")


def test_one_episode_of_features_with_relations(model: GraphFewShot) -> None:
    support, query = (x[:1] for x in encoded(model))
    mask = torch.ones(1, 3, 2, dtype=torch.bool)
    mask[0, 2] = False  # no image at all
    output = classify(model, support, mask, query[0], relations=RELATIONS, belief=1.0, unknown=True)
    expected = model.classify(
        support, query, support_mask=mask, relations=RELATIONS, belief=1.0, unknown=True
    )
    close(output.logits, expected.logits)
    close(output.unknown, expected.unknown)
    assert output.logits.isfinite().all()
    assert classify(model, support, mask, query[0]).logits[0, :, 2].isinf().all()
