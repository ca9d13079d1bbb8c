"""Relations by label in the scikit-learn estimator: a mapping from label to path or row."""

import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from fewshot import (
    ClassGraph,
    FewShotClassifier,
    GraphFewShot,
    InputError,
    KnownClasses,
    backbones,
    taxonomy,
)
from fewshot.data.synthetic import made_up_features, made_up_images
from fewshot.model.relations import rows

LABELS = ["ant", "bee", "cat", "dog"]
PATHS = {
    "ant": "animal/insect/ant",
    "bee": ("animal", "insect", "bee"),
    "cat": ["animal", "mammal", "cat"],
    "dog": "animal/mammal/dog",
}
KNOWN_PATHS = [f"animal/{'insect' if c < 3 else 'mammal'}/kin {c}" for c in range(6)]
DATA = made_up_features(4, 5)
X, Y = DATA.items.double().numpy(), np.array(LABELS)[DATA.labels.numpy()]
QUERIES = made_up_features(4, 3, seed=1).items.double().numpy()


def known_classes(size: int = 32, paths: list[str] | None = KNOWN_PATHS) -> KnownClasses:
    """Six known classes; the first three are near ants and bees, the others near cats and dogs."""
    generator = torch.Generator().manual_seed(3)
    near = torch.stack([DATA.items[:10].mean(0), DATA.items[10:].mean(0)]).repeat_interleave(3, 0)
    prototypes = near[:, :size] + torch.randn(6, size, generator=generator)
    return KnownClasses(prototypes, None, paths and [taxonomy.as_path(path) for path in paths])


KNOWN = known_classes()


def by_hand(relations: torch.Tensor, keep: slice = slice(None), **options: Any) -> np.ndarray:
    """The logits of the graph, called on the supports of some classes; others have none."""
    support = torch.from_numpy(X).view(1, 4, 5, 32)
    mask = torch.zeros(1, 4, 5, dtype=torch.bool)
    mask[:, keep] = True
    with torch.no_grad():
        output = ClassGraph.pretrained().double()(
            support,
            torch.from_numpy(QUERIES)[None],
            support_mask=mask,
            known=KNOWN.prototypes,
            relations=relations,
            **options,
        )
    return output.logits[0].numpy()


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("belief", [None, 1.0])
def test_it_is_the_graph_with_known_classes_and_relations(joint: bool, belief: float | None) -> None:
    clf = FewShotClassifier(joint=joint, known=KNOWN, relations=PATHS, belief=belief).fit(X, Y)
    relations = taxonomy.similarity([PATHS[label] for label in LABELS], KNOWN_PATHS)
    logits = by_hand(relations, joint=joint, belief=belief)
    np.testing.assert_allclose(clf.decision_function(QUERIES), logits, atol=1e-6)
    assert not np.allclose(FewShotClassifier(joint=joint).fit(X, Y).decision_function(QUERIES), logits)
    assert clf.class_graph_.shape == (4, 4)
    np.testing.assert_allclose(clf.class_graph_.sum(1), 1)
    # The same from rows, of any kind, and with nothing known of a label that is missing.
    values = [relations[0], relations[1].numpy(), relations[2].tolist()]
    clf.set_params(relations=dict(zip(LABELS, values, strict=False)))
    relations[3] = torch.nan
    expected = by_hand(relations, joint=joint, belief=belief)
    np.testing.assert_allclose(clf.fit(X, Y).decision_function(QUERIES), expected, atol=1e-6)


@pytest.mark.parametrize("joint", [False, True])
def test_a_label_without_supports_is_a_zero_shot_class(joint: bool) -> None:
    seen = Y != "dog"
    clf = FewShotClassifier(joint=joint, known=KNOWN, relations=PATHS, belief=1).fit(X[seen], Y[seen])
    assert clf.classes_.tolist() == LABELS
    relations = taxonomy.similarity([PATHS[label] for label in LABELS], KNOWN_PATHS)
    expected = by_hand(relations, keep=slice(3), joint=joint, belief=1.0)
    np.testing.assert_allclose(clf.decision_function(QUERIES), expected, atol=1e-6)
    assert (clf.predict_proba(QUERIES)[:, 3] > 0).all()
    # With nothing known of it, it is a class still to come.
    unknown = clf.set_params(relations={**PATHS, "dog": None}).fit(X[seen], Y[seen])
    assert (unknown.predict_proba(QUERIES)[:, 3] == 0).all()


def test_a_zero_shot_class_is_predicted() -> None:
    kin = KNOWN.prototypes.double().numpy()
    relations = {**{label: [1, 1, 1, 0, 0, 0] for label in "ab"}, "far": [0, 0, 0, 1, 1, 1]}
    clf = FewShotClassifier(known=KNOWN, relations=relations, belief=1).fit(kin[:2], ["a", "b"])
    assert clf.predict(kin[3:]).tolist() == ["far"] * 3


def test_no_relations_change_nothing() -> None:
    plain = FewShotClassifier().fit(X, Y).decision_function(QUERIES)
    for options in ({"known": KNOWN}, {"known": KNOWN, "relations": {}}, {"belief": 1}):
        clf = FewShotClassifier(**options).fit(X, Y)
        assert clf.classes_.tolist() == LABELS
        np.testing.assert_allclose(clf.decision_function(QUERIES), plain, atol=1e-6)


@pytest.mark.parametrize("joint", [False, True])
def test_pieces_equal_the_whole(joint: bool) -> None:
    whole = FewShotClassifier(joint=joint, shots=3, known=KNOWN, relations=PATHS).fit(X, Y)
    pieces = clone(whole)
    for part in np.split(np.random.default_rng(0).permutation(len(X)), 4):
        pieces.partial_fit(X[part], Y[part])
        assert pieces.classes_.tolist() == LABELS
    np.testing.assert_allclose(pieces.predict_proba(QUERIES), whole.predict_proba(QUERIES), atol=1e-9)
    np.testing.assert_allclose(pieces.class_graph_, whole.class_graph_, atol=1e-9)


def test_it_is_cloned_searched_and_pickled() -> None:
    clf = FewShotClassifier(known=KNOWN, relations=PATHS)
    copied = clone(clf)
    assert copied.relations == PATHS
    assert copied.known.names == KNOWN.names
    assert cross_val_score(clf, X, Y, cv=2).shape == (2,)
    grid = {"fewshotclassifier__relations": [None, PATHS], "fewshotclassifier__belief": [None, np.float32(1)]}
    search = GridSearchCV(make_pipeline(FunctionTransformer(), clf), grid, cv=2).fit(X, Y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    again = pickle.loads(pickle.dumps(clf.fit(X, Y)))
    np.testing.assert_allclose(again.predict_proba(QUERIES), clf.predict_proba(QUERIES), atol=1e-9)


def test_numbers_are_labels_too() -> None:
    numbers = DATA.labels.numpy()
    relations = {number: PATHS[label] for number, label in enumerate(LABELS)}
    clf = FewShotClassifier(known=KNOWN, relations=relations).fit(X, numbers)
    text = FewShotClassifier(known=KNOWN, relations=PATHS).fit(X, Y)
    np.testing.assert_allclose(clf.predict_proba(QUERIES), text.predict_proba(QUERIES), atol=1e-9)
    floats = FewShotClassifier(known=KNOWN, relations=relations).fit(X, numbers.astype(float))
    np.testing.assert_allclose(floats.predict_proba(QUERIES), text.predict_proba(QUERIES), atol=1e-9)
    mixed = Y.astype(object)
    anything = FewShotClassifier(known=KNOWN, relations=PATHS).fit(X[:15], mixed[:15])
    assert anything.classes_.tolist() == LABELS


@torch.no_grad()
def test_the_models_known_classes_are_the_default() -> None:
    torch.manual_seed(0)
    model = GraphFewShot(
        backbones.conv4(width=8, in_channels=1), ClassGraph.pretrained(), precision="32-true"
    )
    model.transform.fit(torch.rand(100, 8))
    model.known = known_classes(8)
    data, query = made_up_images(4, 3, 16, 1), made_up_images(4, 2, 16, 1, seed=1).items
    images, labels = data.items.numpy(), np.array(LABELS)[data.labels.numpy()]
    clf = FewShotClassifier(model, relations=PATHS).fit(images, labels)
    relations = taxonomy.similarity([PATHS[label] for label in LABELS], KNOWN_PATHS)
    out = model.eval()(data.items.view(1, 4, 3, 1, 16, 16), query[None], relations=relations)
    np.testing.assert_allclose(clf.decision_function(query.numpy()), out.logits[0], atol=1e-3)
    given = FewShotClassifier(model, known=model.known, relations=PATHS).fit(images, labels)
    model.known = None
    np.testing.assert_allclose(given.predict_proba(query.numpy()), clf.predict_proba(query.numpy()))
    with pytest.raises(InputError, match=r"^relations: expected known classes with them"):
        clf.fit(images, labels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"relations": PATHS}, "relations: expected known classes with them"),
        ({"relations": PATHS, "known": torch.eye(3)}, "known: expected KnownClasses, got Tensor"),
        ({"known": "mine"}, "known: expected KnownClasses, got str"),
        (
            {"relations": PATHS, "known": known_classes(30)},
            "known: expected prototypes of 32 features, as the supports have, got 30",
        ),
        (
            {"relations": [PATHS], "known": KNOWN},
            "relations: expected a mapping from labels to paths or rows",
        ),
        (
            {"relations": PATHS, "known": known_classes(paths=None)},
            "relations: expected rows, as the known classes have no paths, got a path for class 'ant'",
        ),
        (
            {"relations": {"bee": [1.0] * 5}, "known": KNOWN},
            r"relations: expected a path or 6 numbers, one per known class, got \[5\] for class 'bee'",
        ),
        (
            {"relations": {"bee": [1.0] * 5 + [np.nan]}, "known": KNOWN},
            r"relations: expected .*, all finite or all nan, got others for class 'bee'",
        ),
        (
            {"relations": {"bee": [1.0] * 5 + [np.inf]}, "known": KNOWN},
            r"relations: expected .*, all finite or all nan, got others for class 'bee'",
        ),
        ({"relations": {"bee": object()}, "known": KNOWN}, "relations: expected .*, got object for class"),
        ({"relations": {3: "animal"}, "known": KNOWN}, "relations: expected labels of the kind of y's"),
        ({"belief": 1.5}, r"belief: expected a number from 0 to 1, or None to judge it, got 1\.5"),
        ({"belief": "judged"}, "belief: expected a number from 0 to 1, or None to judge it, got 'judged'"),
    ],
)
def test_what_does_not_fit_is_named(options: Mapping[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        FewShotClassifier(**options).fit(X, Y)


def test_rows_are_the_similarities_of_paths_or_what_is_given() -> None:
    given = {"ant": PATHS["ant"], "cat": [0, 1, 2, 3, 4, 5], "dog": "", "bee": np.full(6, np.nan)}
    found = rows(given, ["cat", "owl", "ant", "dog", "bee"], KNOWN)
    assert found.dtype == torch.float32
    assert found[0].tolist() == [0, 1, 2, 3, 4, 5]
    assert found[[1, 3, 4]].isnan().all()
    assert torch.equal(found[2:3], taxonomy.similarity([PATHS["ant"]], KNOWN_PATHS))
