"""What the scikit-learn estimator answers: probabilities, labels by shares, sets; many at a time."""

import numpy as np
import pytest
from points import QUERIES, points
from sklearn.base import clone

from fewshot import FewShotClassifier, InputError
from fewshot.data.synthetic import made_up_features
from fewshot.model import estimator


def test_a_class_that_is_still_to_come_has_a_column_and_no_probability():
    X, y = points(3)
    clf = FewShotClassifier().partial_fit(X, y, classes=["class 0", "class 2", "class 1", "class 11"])
    assert clf.classes_.tolist() == ["class 0", "class 1", "class 11", "class 2"]
    assert (clf.predict_proba(QUERIES)[:, 2] == 0).all()
    known = FewShotClassifier().fit(X, y)
    np.testing.assert_allclose(
        clf.predict_proba(QUERIES)[:, [0, 1, 3]], known.predict_proba(QUERIES), atol=1e-9
    )
    assert clf.class_graph_[2].tolist() == clf.class_graph_[:, 2].tolist() == [0, 0, 0, 0]
    more = np.concatenate([X, X[:2] + 1]), np.concatenate([y, ["class 11"] * 2])
    clf.partial_fit(X[:2] + 1, ["class 11"] * 2)
    np.testing.assert_allclose(
        clf.predict_proba(QUERIES), FewShotClassifier().fit(*more).predict_proba(QUERIES), atol=1e-9
    )


def test_queries_on_their_own_or_together():
    X, y = points()
    alone, joint = FewShotClassifier().fit(X, y), FewShotClassifier(joint=True).fit(X, y)
    np.testing.assert_allclose(alone.predict_proba(QUERIES)[:4], alone.predict_proba(QUERIES[:4]), atol=1e-12)
    assert not np.allclose(joint.predict_proba(QUERIES)[:4], joint.predict_proba(QUERIES[:4]), atol=1e-3)
    order = np.random.default_rng(0).permutation(len(QUERIES))
    np.testing.assert_allclose(
        joint.predict_proba(QUERIES)[order], joint.predict_proba(QUERIES[order]), atol=1e-9
    )
    assert "depends on the whole query set" in " ".join(str(FewShotClassifier.__doc__).split())


def test_many_queries_are_classified_in_parts(monkeypatch: pytest.MonkeyPatch):
    X, y = points()
    clf = FewShotClassifier().fit(X, y)
    whole = clf.predict_proba(QUERIES)
    monkeypatch.setattr(estimator, "PIECE", 3 * 32)  # 20 queries of 32 features, 3 at a time
    assert [len(part) for part in clf._logits(QUERIES)] == [3] * 6 + [2]
    np.testing.assert_allclose(clf.predict_proba(QUERIES), whole, atol=1e-12)
    assert [len(part) for part in clf.set_params(joint=True)._logits(QUERIES)] == [20]


def test_many_classes_listen_to_the_nearest(monkeypatch: pytest.MonkeyPatch):
    data = made_up_features(12, 3)
    clf = FewShotClassifier().fit(data.items.numpy(), data.labels.numpy())
    logits, dense = clf.decision_function(data.items.numpy()), clf.class_graph_
    monkeypatch.setattr(estimator, "MANY", 11)
    np.testing.assert_allclose(clf.class_graph_, dense, atol=1e-5)  # all 11 others are among the nearest
    np.testing.assert_allclose(clf.decision_function(data.items.numpy()), logits, atol=1e-4)
    monkeypatch.setattr(estimator, "NEAREST", 4)
    assert (np.count_nonzero(clf.class_graph_, axis=1) == 4).all()
    np.testing.assert_allclose(clf.class_graph_.sum(1), 1, atol=1e-5)


def test_precision_is_that_of_the_features():
    X, y = points()
    double = FewShotClassifier().fit(X, y)
    single = FewShotClassifier().fit(X.astype(np.float32), y)
    assert double.predict_proba(QUERIES).dtype == double.class_graph_.dtype == np.float64
    assert single.predict_proba(QUERIES).dtype == single.class_graph_.dtype == np.float32
    np.testing.assert_allclose(single.predict_proba(QUERIES), double.predict_proba(QUERIES), atol=1e-4)


def test_given_shares_are_those_of_the_labels():
    X, y = points()
    joint = FewShotClassifier(joint=True).fit(X, y)
    equal = FewShotClassifier(joint=True, proportions="equal").fit(X, y)
    labels, counts = np.unique(equal.predict(QUERIES), return_counts=True)
    assert counts.tolist() == [5, 5, 5, 5]
    np.testing.assert_allclose(equal.predict_proba(QUERIES).sum(0), 5, atol=1e-3)
    shares = {labels[0]: 9, labels[1]: 0, labels[2]: 8, labels[3]: 3}
    given = clone(joint).set_params(proportions=shares).fit(X, y)
    found = given.predict(QUERIES)
    assert [(found == label).sum() for label in labels] == [9, 0, 8, 3]
    p = given.predict_log_proba(QUERIES)
    index = np.searchsorted(given.classes_, found)
    moves = p[:, None, :] - p[np.arange(20), index][:, None, None]  # exchanging two labels gains nothing
    for a, b in np.argwhere(index[:, None] != index):
        assert moves[a, 0, index[b]] + moves[b, 0, index[a]] <= 1e-9
    more = given.partial_fit(X[:1], ["class 9"])
    with pytest.raises(InputError, match=r"expected a share for each class .* got none for 'class 9'"):
        more.predict(QUERIES)
    late = FewShotClassifier(joint=True, proportions="equal").partial_fit(X, y, classes=[*labels, "late"])
    assert sorted(set(late.predict(QUERIES))) == labels.tolist()


@pytest.mark.parametrize("options", [{}, {"joint": True}, {"joint": True, "proportions": "equal"}])
def test_sets_hold_the_label_and_grow_with_the_level(options):
    X, y = points(12)
    clf = FewShotClassifier(**options).fit(X, y)
    queries = made_up_features(12, 4, seed=2).items.double().numpy()
    labels, p = clf.predict(queries), clf.predict_proba(queries)
    sizes = []
    for sure in (0.5, 0.9, 0.99):
        sets = clf.predict_sets(queries, sure)
        assert all(label in held for label, held in zip(labels, sets, strict=True))
        for row, held, label in zip(p, sets, labels, strict=True):
            places = np.searchsorted(clf.classes_, held)
            assert (np.diff(row[places]) <= 0).all()
            others, outside = row[places[held != label]], np.delete(row, places)
            assert outside.max(initial=0) <= others.min(initial=1)
        sizes.append(sum(map(len, sets)))
    assert sizes[0] <= sizes[1] < sizes[2]
    assert [h.tolist() for h in clf.predict_sets(queries)] == [
        h.tolist() for h in clf.predict_sets(queries, 0.9)
    ]
    with pytest.raises(InputError, match=r"sure: expected a share from 0.5 to 0.99, got 1.0"):
        clf.predict_sets(queries, 1.0)
