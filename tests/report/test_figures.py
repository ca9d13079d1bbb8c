"""The pictures of a run: they show their data, the same each time."""

import xml.etree.ElementTree as ElementTree

import pytest
import torch

from fewshot import backbones
from fewshot.core.errors import InputError
from fewshot.data.packed import PackedDataset
from fewshot.graph.class_graph import ClassGraph
from fewshot.graph.known_classes import KnownClasses
from fewshot.model.few_shot import GraphFewShot
from fewshot.report import figures as pictures
from fewshot.report.example import draw_example

METRICS = [
    {"stage": "meta", "step": 0, "val_accuracy": 20.0},
    {"stage": "meta", "step": 1, "loss": 1.5, "accuracy": 30.0, "lr": 0.1},
    {"stage": "graph", "step": 1, "loss": 1.0, "accuracy": 60.0, "lr": 0.1},
]


def drawn(relations=None, known=None):
    torch.manual_seed(0)
    images = torch.randint(256, (30, 3, 16, 16), dtype=torch.uint8)
    data = PackedDataset(images, torch.arange(30) // 6, ("ant", "bee", "c$a$t", "<dog>", "eel"))
    model = GraphFewShot(backbones.conv4(width=4), ClassGraph()).eval()
    model.known = known
    return draw_example(model, data, way=5, shot=2, query=15, relations=relations)


@pytest.fixture(scope="module")
def example():
    return drawn()


@pytest.fixture(scope="module")
def related():
    """The same with relations: each class is like the known class of its number, and the last like none."""
    known = KnownClasses(torch.randn(4, 4, generator=torch.Generator().manual_seed(1)), ("w", "x", "y", "z"))
    relations = torch.cat([torch.eye(4), torch.full((1, 4), torch.nan)])
    return drawn(relations, known)


def test_example_is_an_episode_as_the_model_sees_it(example):
    assert example.support_images.shape == (5, 2, 3, 16, 16)
    assert example.query_images.shape == (20, 3, 16, 16)  # all that exist
    out = ClassGraph()(example.support[None], example.query[None])
    torch.testing.assert_close(example.parts.after, out.logits, atol=1e-4, rtol=0)
    torch.testing.assert_close(example.dependencies, out.dependencies[0])
    picture = example.picture()
    assert picture.names == example.names
    assert (picture.images[0][:, ::6, ::6] == example.support_images[0, 0].numpy()).all()
    moved = (example.parts.after - example.parts.before)[0].abs().sum()
    assert moved > 0
    assert 0 <= example.most_moved() < 20


def test_curves_have_a_column_per_stage():
    svg = pictures.to_svg(pictures.curves(METRICS))
    ElementTree.fromstring(svg)
    assert svg.count(">meta<") == svg.count(">graph<") == 1
    assert "currentColor" in svg
    assert pictures.to_svg(pictures.curves(METRICS)) == svg


def test_explanation_holds_every_part_of_every_logit(example):
    svg = pictures.to_svg(pictures.explanation(example))
    ElementTree.fromstring(svg)
    m = example.most_moved()
    for part in (example.parts.messages[0, m], example.parts.after[0, m], example.parts.own[0, m]):
        for value in part.flatten().tolist():
            assert f">{round(value, 2) + 0.0:+.2f}<".replace("-", "−") in svg
    assert "&lt;dog&gt;" in svg
    assert "from c$a$t" in svg


def test_explanation_has_a_column_for_known_classes(example, related):
    svg = pictures.to_svg(pictures.explanation(related))
    ElementTree.fromstring(svg)
    for value in related.parts.known[0, related.most_moved()].tolist():
        assert f">{round(value, 2) + 0.0:+.2f}<".replace("-", "−") in svg
    assert ">known classes<" in svg
    assert "supports and known classes" in svg
    assert "known" not in pictures.to_svg(pictures.explanation(example))


def test_relations_of_an_example_are_those_of_its_classes(example, related):
    assert example.known is None
    assert example.names == related.names
    for i, name in enumerate(related.names):
        place = ("ant", "bee", "c$a$t", "<dog>", "eel").index(name)
        strongest = related.known.strongest(i)
        if place == 4:
            assert strongest == []
            assert related.known.belief[i] == 0
        else:
            assert strongest[0][0] == "wxyz"[place]
    assert related.picture().known is related.known
    total = related.parts.own + related.parts.known + related.parts.messages.sum(-1) + related.parts.handicap
    torch.testing.assert_close(total, related.parts.after)
    assert related.parts.known.abs().max() > 0


def test_relations_need_a_model_with_known_classes():
    with pytest.raises(InputError, match="relations: expected a model with known classes, got one without"):
        drawn(relations=torch.eye(5))


def test_features_are_the_same_each_time_and_count_the_mistakes(example):
    svg = pictures.to_svg(pictures.features(example))
    ElementTree.fromstring(svg)
    wrong = int((example.joint_logits.argmax(-1) != example.labels).sum())
    assert f"{wrong} of 20 queries assigned to another class" in svg
    assert pictures.to_svg(pictures.features(example)) == svg


def test_confusions_of_many_classes_are_those_of_the_hardest_pairs():
    counts = 10 * torch.eye(100, dtype=torch.int64)
    counts[3, 97], counts[97, 3] = 5, 5
    names = [f"class {i}" for i in range(100)]
    axes = pictures.confusions(counts, names).axes[0]
    assert {label.get_text() for label in axes.get_yticklabels()} == {"class 3", "class 97"}
    assert sorted(text.get_text() for text in axes.texts) == ["33", "33", "67", "67"]
    few = pictures.confusions(counts[:5, :5], names[:5]).axes[0]
    assert len(few.get_yticklabels()) == 5
    flawless = pictures.confusions(10 * torch.eye(100, dtype=torch.int64), names).axes[0]
    assert len(flawless.get_yticklabels()) == pictures.MOST
