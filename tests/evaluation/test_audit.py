"""The audit catches each way of cheating, and nothing else."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import one_hot

from fewshot.core.errors import InputError
from fewshot.data.labelled import LabelledSet
from fewshot.data.synthetic import made_up_features
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.audit import RULES, Check, audit, audit_modes, failures, fitting_sampler, small_batch
from fewshot.evaluation.inputs import made_up_data
from fewshot.evaluation.relations import made_up_relations, relate
from fewshot.evaluation.scores import as_predict
from fewshot.graph.class_graph import ClassGraph
from fewshot.graph.known_classes import KnownClasses
from fewshot.methods.catalogue import METHODS
from fewshot.methods.egnn import EGNN
from fewshot.methods.feat import FEAT
from fewshot.methods.gnn import GNN
from fewshot.methods.niw import NIW
from fewshot.methods.prototypes import prototypes


@pytest.fixture(scope="module")
def episode():
    data = made_up_features(classes=8, images=20)
    return next(iter(EpisodeSampler(data, way=4, shot=3, query=5, batch=4)))


def counts_positions(support, query, **_):
    """Surer of what comes later."""
    return prototypes(support, query) * torch.linspace(0.2, 1, query.shape[1])[:, None]


def sees_the_batch(support, query, **_):
    centre = support.mean((0, 1, 2))
    return prototypes(support - centre, query - centre)


def sees_other_queries(support, query, **_):
    centre = query.mean(1, keepdim=True)
    return prototypes(support - centre[:, None], query - centre)


def prefers_the_first_class(support, query, **_):
    logits = prototypes(support, query)
    return logits + 3 * one_hot(torch.tensor(0), logits.shape[-1])


def takes_the_first_support(support, query, **_):
    return prototypes(support[:, :, :1], query)


def refuses_to_be_alone(support, query, **_):
    return prototypes(support, query) * (torch.nan if len(support) == 1 else 1.0)


CHEATS = [
    (counts_positions, True, {"query order", "queries by class"}),
    (counts_positions, False, {"query order", "queries by class", "other queries"}),
    (sees_the_batch, False, {"batch"}),
    (sees_other_queries, False, {"other queries"}),
    (sees_other_queries, True, set()),  # what joint methods are for
    (prefers_the_first_class, False, {"class order"}),
    (takes_the_first_support, False, {"support order"}),
    (refuses_to_be_alone, False, {"batch"}),
]


@pytest.mark.parametrize(("cheat", "joint", "caught"), CHEATS)
def test_each_cheat_is_caught(episode, cheat, joint, caught):
    assert set(failures(audit(as_predict(cheat), episode, joint=joint))) == caught


def test_dice_are_caught_by_every_rule(episode):
    def throws_dice(support, query, **_):
        return torch.randn(*query.shape[:2], support.shape[1])

    checks = audit(as_predict(throws_dice), episode, joint=False)
    assert failures(checks) == [check.name for check in checks] == list(RULES)[:-1]


def test_a_failure_says_how_far_it_goes(episode):
    def always_first(support, query, **_):
        return torch.tensor([60.0, 0, 0, 0]).expand(*query.shape[:2], 4)

    checks = audit(as_predict(always_first), episode, joint=False)
    assert failures(checks) == ["class order"]
    [failed] = [check for check in checks if check.passed is False]
    assert failed.deviation == pytest.approx(1.0)
    assert failed.explanation == "classes in another order: different results, 80 of 80 predictions changed"


def test_equal_probabilities_are_no_change(episode):
    def undecided(support, query, **_):
        return query.new_zeros(*query.shape[:2], support.shape[1])

    # The largest of equal ones is the first, whichever class that is.
    assert failures(audit(as_predict(undecided), episode, joint=False)) == []


def test_what_is_skipped_is_reported(episode):
    data = made_up_features(classes=8, images=20)
    one_shot = next(iter(EpisodeSampler(data, way=4, shot=1, query=5, batch=4)))
    checks = {check.name: check for check in audit(as_predict(prototypes), one_shot, joint=True)}
    assert [name for name, check in checks.items() if check.passed is None] == [
        "support order",
        "other queries",
    ]
    assert checks["other queries"].explanation == "skipped for joint methods"


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("call", [prototypes, ClassGraph.pretrained()], ids=["prototypes", "class graph"])
def test_honest_methods_pass_with_padding_too(call, joint):
    data = made_up_features(classes=8, images=20)
    ragged = next(iter(EpisodeSampler(data, way=[2, 3, 5], shot=[1, 2, 4], query=4, batch=4, seed=1)))
    assert not ragged.class_mask.all()
    assert not ragged.support_mask.all()
    assert failures(audit(as_predict(call, joint=joint, know_proportions=joint), ragged, joint=joint)) == []


def test_labels_and_shares_move_with_their_classes(episode):
    checks = audit(lambda e: 9.0 * one_hot(e.query_labels, 4), episode, joint=False)
    assert failures(checks) == []
    data = made_up_features(classes=8, images=20)
    uneven = next(iter(EpisodeSampler(data, way=4, shot=2, query=5, batch=4, queries="dirichlet:1")))

    def by_share(support, query, proportions, **_):
        return prototypes(support, query) + proportions.log().clamp(min=-20)[:, None]

    assert failures(audit(as_predict(by_share, know_proportions=True), uneven, joint=True)) == []


PLAIN = [m for m in METHODS if m.needs == "features" and m.relations != "must"]


@pytest.mark.parametrize("method", PLAIN, ids=lambda m: m.name)
def test_the_methods_of_the_package_pass(method):
    source = made_up_data()
    sampler = fitting_sampler(source.features("test"))
    call = method.make(source.material(sampler, "test", base=False))
    checks = audit_modes(call, method.modes, small_batch(sampler))
    assert list(checks) == [mode for mode in ("inductive", "joint", "joint-known") if mode in method.modes]
    assert {mode: failures(found) for mode, found in checks.items()} == {mode: [] for mode in checks}
    assert all(check.deviation < 1e-3 for found in checks.values() for check in found)


LEARNERS = {  # before training, which changes weights and not what is looked at
    "niw": (lambda d, way, train: NIW.fit(train), ("inductive",), []),
    "feat": (lambda d, way, train: FEAT(d).eval(), ("inductive",), []),
    "egnn": (lambda d, way, train: EGNN(d).eval(), ("inductive", "joint"), []),
    "gnn": (lambda d, way, train: GNN(d, way).eval(), ("inductive",), ["class order"]),  # one input per class
}


@pytest.mark.parametrize("name", LEARNERS)
def test_methods_that_learn_break_only_the_expected_rules(name):
    make, modes, expected = LEARNERS[name]
    torch.manual_seed(0)
    source = made_up_data()
    sampler = fitting_sampler(source.features("test"))
    call = make(source.features("test").items.shape[1], sampler.way, source.features("train"))
    checks = audit_modes(call, modes, small_batch(sampler))
    assert {mode: failures(found) for mode, found in checks.items()} == dict.fromkeys(modes, expected)


def uses_the_scale(support, query, known=None, relations=None, **_):
    """Adds the relations as they are."""
    logits = prototypes(support, query)
    return logits if relations is None else logits + relations.mean(-1)[:, None]


def counts_known_classes(support, query, known=None, relations=None, **_):
    """The later a known class comes, the more it counts."""
    logits = prototypes(support, query)
    if relations is None:
        return logits
    rows = (relations - relations.mean(-1, keepdim=True)) / relations.std(-1, keepdim=True)
    return logits + (rows * torch.linspace(0, 1, rows.shape[-1])).sum(-1)[:, None]


@pytest.mark.parametrize("cheat", [uses_the_scale, counts_known_classes])
def test_what_follows_from_scale_or_order_of_relations_is_caught(cheat):
    data = made_up_features(classes=8, images=20)
    sampler = fitting_sampler(data)
    checks = audit_modes(cheat, ["inductive"], small_batch(sampler), relations=made_up_relations(data))
    assert {mode: failures(found) for mode, found in checks.items()} == {
        "inductive": [], "inductive, relations": ["relations"],
    }  # fmt: skip
    [check] = [check for check in checks["inductive, relations"] if check.name == "relations"]
    assert check.explanation.startswith("relations on another scale, known classes in another order: diff")


@pytest.mark.parametrize("method", [m for m in METHODS if m.relations != "no"], ids=lambda m: m.name)
def test_the_methods_with_relations_pass(method):
    source = made_up_data()
    sampler = fitting_sampler(source.features("test"))
    features = source.features("train")
    known = KnownClasses.fit(features.items, features.labels, features.class_names)
    data = replace(sampler.data, class_names=tuple(f"new {c}" for c in range(sampler.data.num_classes)))
    relations = relate("looks", data, known)
    call = method.make(source.material(sampler, "test", base=True, relations=relations))
    without = method.relations != "must"
    checks = audit_modes(call, method.modes, small_batch(sampler), relations=relations, without=without)
    assert len(checks) == (2 if without else 1) * len(method.modes)
    assert {name: failures(found) for name, found in checks.items()} == {name: [] for name in checks}


def test_one_episode_is_too_few(episode):
    data = made_up_features(classes=8, images=20)
    with pytest.raises(InputError, match="at least 2 episodes"):
        audit(as_predict(prototypes), next(iter(EpisodeSampler(data, batch=1))), joint=False)


def test_small_batch_takes_the_samplers_own_episodes():
    data = made_up_features(classes=8, images=20)
    sampler = EpisodeSampler(data, way=4, shot=2, query=5, batch=64, episodes=2, seed=5)
    few = small_batch(sampler)
    assert len(few) == 4
    whole = next(iter(sampler))
    assert torch.equal(few.query_index[:2], whole.query_index)
    assert (sampler.batch, sampler.episodes) == (64, 2)


@pytest.mark.parametrize(("images", "sizes"), [(50, (3, 5)), (5, (3, 2)), (2, (1, 1))])
def test_episodes_are_as_large_as_the_data_allows(images, sizes):
    data = LabelledSet(torch.zeros(3 * images, 2), torch.arange(3 * images) // images, ("a", "b", "c"))
    sampler = fitting_sampler(data)
    assert (sampler.way, sampler.shot, sampler.query) == (3, *sizes)


def test_checks_are_plain_values():
    assert vars(Check("batch", True, 0.0, "x")) == {
        "name": "batch", "passed": True, "deviation": 0.0, "explanation": "x",
    }  # fmt: skip
