"""The scikit-learn estimator: the class graph for scikit-learn's tools, in whatever order supports come."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from points import QUERIES, points
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit, cross_val_score
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import fewshot
from fewshot import ClassGraph, FewShotClassifier
from fewshot.data.synthetic import made_up_features
from fewshot.model import estimator

README = Path(__file__).parents[2] / "README.md"

# The checks that scikit-learn itself skips, and why.
SKIPPED = {
    "check_array_api_input": "SCIPY_ARRAY_API is not set",  # it must be set before scipy is imported
    "check_classifier_data_not_an_array": "pandas is not installed",
}

# A prediction depends on the whole query set, so it may change if only a part of it is given.
JOINT_FAILS = {"check_methods_subset_invariance": "joint inference looks at all queries of a call together"}


@pytest.mark.filterwarnings("ignore")  # warnings of scikit-learn that its checks provoke
@pytest.mark.parametrize(("joint", "fails"), [(False, {}), (True, JOINT_FAILS)])
def test_it_passes_the_checks_of_scikit_learn(joint: bool, fails: dict[str, str]):
    results = check_estimator(FewShotClassifier(joint=joint), expected_failed_checks=fails, on_skip=None)
    outcomes = {name: [r for r in results if r["status"] == name] for name in ("passed", "skipped", "xfail")}
    assert sum(map(len, outcomes.values())) == len(results)
    assert {r["check_name"] for r in outcomes["xfail"]} == set(fails)
    for result in outcomes["skipped"]:
        assert SKIPPED[result["check_name"]] in str(result["exception"])
    assert len(outcomes["passed"]) > 40


@pytest.mark.parametrize("joint", [False, True])
def test_it_is_the_graph_on_the_episode(joint: bool):
    data, query = made_up_features(5, 3), torch.from_numpy(QUERIES).float()
    clf = FewShotClassifier(joint=joint).fit(data.items.numpy(), data.labels.numpy())
    out = ClassGraph.pretrained()(data.items.view(1, 5, 3, 32), query[None], joint=joint)
    close = {"atol": 1e-4, "rtol": 1e-4}
    np.testing.assert_allclose(clf.decision_function(query.numpy()), out.logits[0].detach(), **close)
    np.testing.assert_allclose(
        clf.predict_proba(query.numpy()), out.logits[0].softmax(-1).detach(), atol=1e-4
    )
    np.testing.assert_allclose(clf.class_graph_, out.dependencies[0].detach(), **close)
    assert (clf.predict(query.numpy()) == out.logits[0].argmax(-1).numpy()).all()


def test_the_graph_that_is_given_is_used_as_it_was_then():
    X, y = points()
    graph = ClassGraph()
    clf = FewShotClassifier(graph=graph).fit(X, y)
    before = clf.decision_function(QUERIES)
    assert not np.allclose(before, FewShotClassifier().fit(X, y).decision_function(QUERIES))
    with torch.no_grad():
        graph.head.log_scale.add_(1.0)
    np.testing.assert_allclose(clf.decision_function(QUERIES), before, rtol=1e-9)
    assert not np.allclose(clf.fit(X, y).decision_function(QUERIES), before)
    assert graph.head.log_scale.dtype == torch.float32


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("shots", [None, 3])
def test_the_order_of_supports_changes_nothing_nor_do_pieces(joint: bool, shots: int | None):
    X, y = points()
    whole = FewShotClassifier(joint=joint, shots=shots).fit(X, y)
    backwards = clone(whole).fit(X[::-1], y[::-1])
    pieces = clone(whole)
    for part in np.split(np.random.default_rng(3).permutation(len(X)), 6):  # new classes, then new shots
        pieces.partial_fit(X[part], y[part])
    by_class = clone(whole)
    for label in reversed(whole.classes_):
        by_class.partial_fit(X[y == label], y[y == label])
    for other in (backwards, pieces, by_class):
        assert other.classes_.tolist() == whole.classes_.tolist()
        assert np.array_equal(other.supports_, whole.supports_)
        np.testing.assert_allclose(other.predict_proba(QUERIES), whole.predict_proba(QUERIES), atol=1e-9)
        np.testing.assert_allclose(other.class_graph_, whole.class_graph_, atol=1e-9)


def test_shots_are_the_most_that_are_kept_per_class():
    X, y = points()
    X, y = X[5:], y[5:]
    clf = FewShotClassifier(shots=3).fit(X, y)
    assert np.unique(clf.support_labels_, return_counts=True)[1].tolist() == [3, 3, 3, 3]
    for support, label in zip(clf.supports_, clf.support_labels_, strict=True):
        assert y[(support == X).all(1)].tolist() == [label]
    assert np.array_equal(
        FewShotClassifier(shots=100).fit(X, y).supports_, FewShotClassifier().fit(X, y).supports_
    )


def test_fit_forgets_and_partial_fit_does_not():
    (X, y), (other, labels) = points(), points(3, 4, seed=5)
    clf = FewShotClassifier().fit(X, y)
    assert len(clf.partial_fit(other, np.char.add(labels, "!")).classes_) == 7
    again = clf.fit(X[:, :9], y)
    assert again.n_features_in_ == 9
    assert len(again.classes_) == 4


@pytest.mark.filterwarnings("ignore:self.within_class_std_dev_")  # NearestCentroid: pixels at the border
def test_it_is_on_a_par_with_the_nearest_centroid():
    X, y = load_digits(return_X_y=True)
    few = StratifiedShuffleSplit(10, train_size=50, random_state=0)
    centroid, graph, joint = (
        cross_val_score(make_pipeline(StandardScaler(with_std=False), clf), X, y, cv=few).mean()
        for clf in (NearestCentroid(), FewShotClassifier(), FewShotClassifier(joint=True))
    )
    assert graph > centroid - 0.02
    assert joint > centroid - 0.02


def test_it_is_searched_cloned_and_pickled():
    X, y = points(images=10)
    pipeline = make_pipeline(StandardScaler(), FewShotClassifier(graph=ClassGraph.pretrained()))
    grid = {"fewshotclassifier__shots": [1, None], "fewshotclassifier__joint": [False, True]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, y)
    assert search.best_score_ > 0.5
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_allclose(again.predict_proba(QUERIES), search.predict_proba(QUERIES), atol=1e-9)
    with pytest.raises(NotFittedError):
        clone(search.best_estimator_).predict(QUERIES)
    assert not hasattr(FewShotClassifier(), "class_graph_")


def test_the_lines_of_the_readme_run():
    section = README.read_text().split("### As a scikit-learn estimator")[1]
    X, y = load_digits(return_X_y=True)
    names = {"X_support": X[:99], "y_support": y[:99], "X_query": X[99:], "y_query": y[99:]}
    exec(section.split("```python")[1].split("```")[0], names | {"X_new": X[:2], "y_new": [10, 10]})


def test_the_name_is_loaded_when_it_is_used():
    assert fewshot.FewShotClassifier is estimator.FewShotClassifier
    assert "FewShotClassifier" in fewshot.__all__
