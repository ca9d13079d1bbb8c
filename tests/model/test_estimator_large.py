"""The estimator with very many classes: shortlists, the k best classes, and a sparse class graph."""

import copy
import pickle

import numpy as np
import pytest
from scipy.sparse import issparse

from fewshot import ClassGraph, FewShotClassifier, InputError, PowerTransform, Transformed
from fewshot.data.synthetic import made_up_features
from fewshot.model import estimator_large


def points(images: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features of 40 classes [40·images, 32] and labels."""
    data = made_up_features(40, images, seed)
    return data.items.numpy(), np.array([f"class {c:02}" for c in data.labels.tolist()])


QUERIES = points(2)[0]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten classes are very many."""
    monkeypatch.setattr(estimator_large, "LARGE", 10)


def fitted(**options) -> FewShotClassifier:
    X, y = points(3)
    return FewShotClassifier(**options).fit(X, y)


def transformed() -> Transformed:
    import torch

    return Transformed(PowerTransform().fit(torch.from_numpy(points(3, 1)[0])), ClassGraph.pretrained())


@pytest.mark.parametrize("graph", [None, transformed()])
def test_shortlists_of_all_classes_give_what_all_classes_give(graph, monkeypatch: pytest.MonkeyPatch):
    all_of = fitted(graph=graph)
    logits, labels, top = (
        all_of.decision_function(QUERIES),
        all_of.predict(QUERIES),
        all_of.predict_top(QUERIES),
    )
    dense = all_of.class_graph_
    monkeypatch.setattr(estimator_large, "LARGE", 10)
    large = fitted(graph=graph)
    np.testing.assert_allclose(large.decision_function(QUERIES), logits, atol=0.05)  # half precision
    assert (large.predict(QUERIES) == labels).all()
    np.testing.assert_allclose(large.predict_top(QUERIES)[1], top[1], atol=5e-3)
    assert issparse(large.class_graph_)
    np.testing.assert_allclose(large.class_graph_.toarray(), dense, atol=1e-3)


@pytest.mark.parametrize("large", [False, True])
def test_the_best_classes_are_those_of_the_probabilities(large: bool, request: pytest.FixtureRequest):
    if large:
        request.getfixturevalue("few")
    clf = fitted()
    labels, found = clf.predict_top(QUERIES, 3)
    proba = clf.predict_proba(QUERIES)
    assert labels.shape == found.shape == (80, 3)
    assert (labels[:, 0] == clf.predict(QUERIES)).all()
    assert (labels == clf.classes_[np.argsort(-proba, axis=1, kind="stable")[:, :3]]).mean() > 0.99
    np.testing.assert_allclose(found, -np.sort(-proba, axis=1)[:, :3], atol=1e-6)
    with pytest.raises(InputError, match=r"^k: expected a whole number from 1 to 40, the classes, got 0$"):
        clf.predict_top(QUERIES, 0)


def test_few_classes_of_many_are_looked_at(few, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(estimator_large, "SHORTLIST", 6)
    monkeypatch.setattr(estimator_large, "NEAREST", 4)
    clf = fitted()
    assert (np.count_nonzero(clf.predict_proba(QUERIES), axis=1) <= 6).all()
    np.testing.assert_allclose(clf.predict_proba(QUERIES).sum(1), 1, atol=1e-5)
    assert clf.predict_top(QUERIES, 20)[0].shape == (80, 20)
    graph = clf.class_graph_
    assert (np.diff(graph.indptr) == 4).all()
    assert (graph.diagonal() == 0).all()
    np.testing.assert_allclose(graph.sum(1), 1, atol=1e-5)


def test_further_supports_and_pickles_are_followed(few):
    X, y = points(3)
    clf = FewShotClassifier().fit(X[: 3 * 39], y[: 3 * 39])
    assert clf.predict(QUERIES[-2:]).tolist() != y[-2:].tolist()
    clf.partial_fit(X[3 * 39 :], y[3 * 39 :], classes=["class to come"])
    assert (clf.predict(QUERIES) == fitted().predict(QUERIES)).all()
    again = pickle.loads(pickle.dumps(clf))
    assert (again.predict_proba(QUERIES) == clf.predict_proba(QUERIES)).all()
    assert clf.class_graph_.shape == (41, 41)


def test_joint_inference_looks_at_all_classes(few):
    clf = fitted(joint=True)
    assert np.count_nonzero(clf.predict_proba(QUERIES)) == 80 * 40
    assert clf.predict_top(QUERIES, 40)[1].sum(1) == pytest.approx(1, abs=1e-4)


def held(clf: FewShotClassifier) -> dict:
    """The supports of each column, by its label."""
    gallery = clf._shortlists().gallery
    places = gallery.indices()
    parts = [gallery.supports(place[None]) for place in places]
    return {gallery.labels[i]: sorted(x[m].tolist()) for i, (x, m) in zip(places, parts, strict=True)}


@pytest.mark.parametrize("shots", [None, 2])
def test_further_supports_are_added_to_the_gallery_that_is_there(few, shots, monkeypatch):
    X, y = points(3)
    clf = FewShotClassifier(shots=shots).fit(X[: 3 * 30], y[: 3 * 30])
    clf.predict(QUERIES)
    gallery, written = clf._shortlists().gallery, []
    add = gallery.add
    monkeypatch.setattr(gallery, "add", lambda rows, labels: (written.extend(labels), add(rows, labels)))
    more = points(2, seed=0)[0][2 * 4 : 2 * 5]
    clf.partial_fit(X[3 * 30 :], y[3 * 30 :]).partial_fit(more, ["class 04"] * 2, classes=["a", "z"])
    assert clf._shortlists().gallery is gallery
    assert set(written) <= {"class 04", *y[3 * 30 :]}
    whole = FewShotClassifier(shots=shots).fit(np.concatenate([X, more]), [*y, "class 04", "class 04"])
    assert held(clf) == held(whole)
    assert (clf.predict(QUERIES) == whole.predict(QUERIES)).all()
    np.testing.assert_array_equal(clf.predict_proba(QUERIES)[:, 1:-1], whole.predict_proba(QUERIES))
    clf.fit(X, y)
    assert clf._shortlists().gallery is not gallery


def test_copies_that_learn_on_leave_each_other_alone(few):
    clf, X = fitted(), points(3)[0]
    before = clf.predict_proba(QUERIES)
    other = copy.copy(clf).partial_fit(-X[:3], ["another"] * 3)
    assert other.predict_proba(QUERIES).shape == (80, 41)
    np.testing.assert_array_equal(clf.predict_proba(QUERIES), before)
    assert other.predict(-X[:1]) == ["another"]
    found = other.predict_proba(QUERIES)
    again = pickle.loads(pickle.dumps(other)).partial_fit(-X[3:6], ["third"] * 3)
    assert again.predict(-X[3:4]) == ["third"]
    np.testing.assert_array_equal(other.predict_proba(QUERIES), found)
