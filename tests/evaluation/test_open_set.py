"""None of these: the figures against scikit-learn, and rules on made-up classes."""

import math

import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from fewshot.core.errors import InputError
from fewshot.data.labelled import FeatureSet
from fewshot.evaluation.inputs import ScoredData
from fewshot.evaluation.open_set import recognition, score_unknown
from fewshot.evaluation.relations import made_up_relations
from fewshot.graph.class_graph import ClassGraph
from fewshot.methods.catalogue import Method
from fewshot.methods.open_set import RULES
from fewshot.methods.prototypes import prototypes
from fewshot.methods.rejection import largest_cosine
from fewshot.methods.shared.open_set import OpenSet


@pytest.mark.parametrize("digits", [0, 1, 6])  # with many ties, some, none
def test_figures_are_those_of_scikit_learn(digits):
    generator = torch.Generator().manual_seed(digits)
    positive = torch.rand(20, 60, generator=generator) < 0.4
    scores = (torch.randn(20, 60, generator=generator) + positive).round(decimals=digits)
    counted = torch.rand(20, 60, generator=generator) < 0.9
    found = recognition(scores, positive, counted)
    for b in range(20):
        y, s = positive[b][counted[b]].numpy(), scores[b][counted[b]].numpy()
        false, true, _ = roc_curve(y, s, drop_intermediate=False)
        expected = roc_auc_score(y, s), average_precision_score(y, s), false[(true >= 0.95).argmax()]
        torch.testing.assert_close(found[b], torch.tensor(expected, dtype=torch.float64))


def scored(source, rules, **options):
    shape = {"way": 3, "shot": 2, "query": 4, "episodes": 12, "unknown": 2}
    sampler = source.sampler("test", **shape)
    material = source.material(sampler, "test", base=False)
    return sampler, score_unknown(rules, material, sampler, **options)


CHEAPER = [rule for rule in RULES if rule.needs == "features"]


def test_rules_of_the_package_score_the_very_same_episodes(source):
    relations = made_up_relations(source.features("test"))
    sampler, rows = scored(source, CHEAPER, relations=relations)
    assert {row.fingerprint for row in rows} == {sampler.without_unknown().fingerprint()}
    assert [(row.method.name, row.mode, row.relations) for row in rows] == [
        ("largest-probability", "inductive", "none"),
        ("largest-cosine", "inductive", "none"),
        ("energy", "inductive", "none"),
        ("ostim", "joint", "none"),
        ("eol", "joint", "none"),
        ("eol-transformed", "joint", "none"),
        ("class-graph", "inductive", "none"),
        ("class-graph", "inductive", "made up"),
        ("class-graph", "joint", "none"),
        ("class-graph", "joint", "made up"),
    ]
    for row in rows:
        assert row.per_episode.shape == (12, 4)
        assert row.per_episode.isfinite().all()
        assert row.per_episode[:, 0].mean() > 60  # clusters that overlap
    content = rows[0].row()
    assert content["unknown"] == 2
    assert content["auroc"] == pytest.approx(rows[0].per_episode[:, 0].mean().item(), abs=1e-3)


def test_accuracy_is_that_of_the_known_queries():
    centres = torch.eye(6).repeat_interleave(10, 0)
    data = FeatureSet(centres, torch.arange(6).repeat_interleave(10), tuple("abcdef"))
    source = ScoredData(ClassGraph.pretrained(), {"test": data})

    def wrong_about_strangers(support, query, **options):
        logits = prototypes(support, query)
        return OpenSet(logits, logits.amax(-1))  # surest of what it knows

    rules = [
        Method("right", "right", "", lambda _: largest_cosine),
        Method("wrong", "wrong", "", lambda _: wrong_about_strangers),
    ]
    _, (right, wrong) = scored(source, rules)
    assert right.per_episode.tolist() == [[100.0, 100.0, 0.0, 100.0]] * 12
    assert wrong.per_episode[:, [0, 2, 3]].tolist() == [[0.0, 100.0, 100.0]] * 12


def test_one_episode_has_no_interval(source):
    sampler = source.sampler("test", way=3, query=4, episodes=1, unknown=1)
    [row] = score_unknown(CHEAPER[:1], source.material(sampler, "test", base=False), sampler)
    assert row.row()["auroc_ci95"] is None
    assert not math.isnan(row.row()["auroc"])


def test_a_sampler_without_unknown_classes_is_refused(source):
    sampler = source.sampler("test", way=3, query=4, episodes=2)
    with pytest.raises(InputError, match="sampler: expected a number of episodes with unknown classes"):
        score_unknown(CHEAPER[:1], source.material(sampler, "test", base=False), sampler)
