"""Relations of episodes: the rows of their classes, false ones, looks, and what is missing."""

from dataclasses import replace

import pytest
import torch

from fewshot.core import taxonomy
from fewshot.core.errors import InputError
from fewshot.data.labelled import FeatureSet
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.relations import Changed, looks, made_up_relations, relate
from fewshot.evaluation.scores import as_predict
from fewshot.graph.known_classes import KnownClasses
from fewshot.graph.transform import PowerTransform
from fewshot.methods.prototypes import prototypes

NAMES = ("crane", "heron", "fox", "wolf", "cup", "mug")
PATHS = ("animal/bird/crane", "animal/bird/heron", "animal/fox", "animal/wolf", "thing/cup", "thing/mug")
KNOWN = KnownClasses(
    torch.randn(4, 8, generator=torch.Generator().manual_seed(0)),
    ("stork", "dog", "bowl", "bear"),
    (("animal", "bird", "stork"), ("animal", "dog"), ("thing", "bowl"), ("animal", "bear")),
)


def points(seed: int = 0) -> FeatureSet:
    generator = torch.Generator().manual_seed(seed)
    return FeatureSet(torch.randn(120, 8, generator=generator), torch.arange(120) // 20, NAMES, paths=PATHS)


@pytest.fixture
def ragged():
    sampler = EpisodeSampler(points(), way=(2, 4), shot=(1, 3), query=3, batch=20, episodes=20)
    return next(iter(sampler))


def test_rows_are_those_of_the_episodes_classes_and_nan_for_padding(ragged):
    relations = relate("taxonomy", points(), KNOWN)
    torch.testing.assert_close(relations.rows, taxonomy.similarity(PATHS, KNOWN.paths))
    torch.testing.assert_close(relations.among, taxonomy.similarity(KNOWN.paths, KNOWN.paths))
    known, rows = relations.given(ragged)
    torch.testing.assert_close(known, KNOWN.prototypes)
    for b, classes in enumerate(ragged.classes.tolist()):
        for i, c in enumerate(classes):
            if c < 0:
                assert rows[b, i].isnan().all()
            else:
                assert torch.equal(rows[b, i], relations.rows[c])
    assert (ragged.classes < 0).any()


def test_shuffled_is_a_seeded_derangement_of_the_rows():
    true = relate("taxonomy", points(), KNOWN).rows
    false = relate("shuffled", points(), KNOWN, seed=3)
    order = taxonomy.shuffled(6, 3)
    assert (order != torch.arange(6)).all()
    assert sorted(order.tolist()) == list(range(6))
    assert torch.equal(false.rows, true[order])
    assert torch.equal(false.rows, relate("shuffled", points(), KNOWN, seed=3).rows)
    assert false.kind == "shuffled"


def test_looks_are_cosines_of_mean_supports_after_the_transform(ragged):
    base = torch.rand(50, 8) ** 3
    transform = PowerTransform().fit(base)
    _, rows = relate("looks", points(), KNOWN, transform=transform).given(ragged)
    for b in range(len(ragged)):
        for i in range(ragged.classes.shape[1]):
            there = ragged.support_mask[b, i]
            if not there.any():
                assert rows[b, i].isnan().all()
                continue
            images = torch.nn.functional.normalize(transform(ragged.support[b, i][there]), dim=-1)
            mean = torch.nn.functional.normalize(images.mean(0), dim=0)
            torch.testing.assert_close(rows[b, i], KNOWN.prototypes @ mean)
    assert looks(torch.eye(8)[None, None, :1], None, KNOWN.prototypes).shape == (1, 1, 4)


def test_none_is_no_relations():
    assert relate("none", points(), KNOWN) is None


def test_a_known_class_that_is_scored_is_left_out():
    data = replace(points(), class_names=("dog", *NAMES[1:]))
    relations = relate("taxonomy", data, KNOWN)
    assert relations.known.names == ("stork", "bowl", "bear")
    assert relations.rows.shape == (6, 3)
    assert relations.among.shape == (3, 3)
    with pytest.raises(InputError, match="expected known classes other than those that are scored, got none"):
        relate("taxonomy", points(), KnownClasses(torch.eye(6), NAMES, [p.split("/") for p in PATHS]))


def test_what_is_missing_is_named():
    some = replace(points(), paths=("", *PATHS[1:]))
    with pytest.raises(
        InputError,
        match=r"a path in a taxonomy for each scored class, got none for 'crane' \(1 of 6 have none\)",
    ):
        relate("taxonomy", some, KNOWN)
    without = KnownClasses(KNOWN.prototypes, KNOWN.names)
    with pytest.raises(InputError, match=r"for each known class, got none for 'stork' \(4 of 4 have none\)"):
        relate("shuffled", points(), without)
    assert relate("looks", replace(points(), paths=None), without).rows is None
    with pytest.raises(
        InputError, match="relations: expected one of none, taxonomy, looks, shuffled, got 'near'"
    ):
        relate("near", points(), KNOWN)


def test_changed_relations_are_the_same_on_another_scale_and_in_another_order(ragged):
    relations = relate("taxonomy", points(), KNOWN)
    known, rows = relations.given(ragged)
    order = torch.tensor([2, 0, 3, 1])
    moved, changed = Changed(relations, scale=2.0, offset=-1.0, order=order).given(ragged)
    assert torch.equal(moved, known[order])
    torch.testing.assert_close(changed, (2 * rows - 1)[..., order], equal_nan=True)


def test_methods_get_known_classes_only_with_relations(ragged):
    seen = []

    def method(support, query, **options):
        seen.append(options)
        return prototypes(support, query, class_mask=options["class_mask"])

    as_predict(method)(ragged)
    as_predict(method, relations=relate("taxonomy", points(), KNOWN), belief=1.0)(ragged)
    plain, related = seen
    assert not {"known", "relations", "belief"} & set(plain)
    assert related["belief"] == 1.0
    assert related["known"].shape == (4, 8)
    assert related["relations"].shape == (20, 4, 4)


def test_made_up_known_classes_look_like_the_classes():
    relations = made_up_relations(points(), seed=1)
    means = KnownClasses.fit(points().items, points().labels).prototypes
    torch.testing.assert_close(relations.rows, means @ relations.known.prototypes.T)
