"""The scikit-learn estimator."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit, cross_val_score
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import fewshot
from fewshot import ClassGraph, FewShotClassifier, GraphFewShot, InputError, backbones
from fewshot.data.labelled import LabelledSet
from fewshot.data.synthetic import made_up_features, made_up_images
from fewshot.model import estimator
from fewshot.model.supports import content_keys

README = Path(__file__).parents[2] / "README.md"
# The checks that scikit-learn itself skips, and why.
SKIPPED = {
    "check_array_api_input": "SCIPY_ARRAY_API is not set",  # it must be set before scipy is imported
    "check_classifier_data_not_an_array": "pandas is not installed",
}
# A prediction depends on the whole query set, so it may change if only a part of it is given.
JOINT_FAILS = {"check_methods_subset_invariance": "joint inference looks at all queries of a call together"}


def points(classes: int = 4, images: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features [classes·images, 32] in double precision and in random order, and text labels."""
    data = made_up_features(classes, images, seed)
    order = np.random.default_rng(seed).permutation(len(data))
    labels = np.array([f"class {c}" for c in range(classes)])[data.labels.numpy()]
    return data.items.double().numpy()[order], labels[order]


QUERIES = points(4, 5, seed=1)[0]


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


@pytest.fixture(scope="module")
def model() -> GraphFewShot:
    torch.manual_seed(0)
    model = GraphFewShot(backbones.conv4(width=8, in_channels=1), ClassGraph(), precision="32-true").eval()
    model.transform.fit(model.features(made_up_images(6, 8, 16, 1, seed=9)).items)
    return model


@pytest.mark.parametrize("joint", [False, True])
def test_with_a_model_it_is_the_model_on_images(model: GraphFewShot, joint: bool):
    data, query = made_up_images(4, 3, 16, 1), made_up_images(4, 2, 16, 1, seed=1).items
    clf = FewShotClassifier(model, joint=joint).fit(data.items.numpy(), data.labels.numpy())
    with torch.no_grad():
        out = model(data.items.view(1, 4, 3, 1, 16, 16), query[None], joint=joint)
    np.testing.assert_allclose(clf.decision_function(query.numpy()), out.logits[0], atol=1e-3)
    assert clf.n_features_in_ == 1
    # Another graph on the model's features, which are transformed.
    other = FewShotClassifier(model, ClassGraph.pretrained(), joint=joint)
    features = model.transform(model.features(data).items).numpy()
    queries = model.transform(model.encode(query)).detach().numpy()
    alone = FewShotClassifier(joint=joint).fit(features, data.labels.numpy()).predict_proba(queries)
    other.fit(data.items.numpy(), data.labels.numpy())
    np.testing.assert_allclose(other.predict_proba(query.numpy()), alone, atol=1e-3)


def test_images_come_in_pieces_and_are_pickled(model: GraphFewShot):
    data = made_up_images(4, 4, 16, 1)
    X, y = data.items.numpy(), data.labels.numpy()
    whole, pieces = FewShotClassifier(model, shots=2).fit(X, y), FewShotClassifier(model, shots=2)
    order = np.argsort(content_keys(X))
    for part in (order[9:15], order[:9], order[15:]):  # the last image is one that is not kept
        pieces.partial_fit(X[part], y[part])
    np.testing.assert_allclose(pieces.predict_proba(X), whole.predict_proba(X), atol=1e-6)
    np.testing.assert_allclose(
        FewShotClassifier(model, shots=2).fit(X[::-1], y[::-1]).predict_proba(X),
        whole.predict_proba(X),
        atol=1e-6,
    )
    again = pickle.loads(pickle.dumps(whole))
    np.testing.assert_allclose(again.predict_proba(X), whole.predict_proba(X), atol=1e-6)
    assert pieces.support_labels_.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert cross_val_score(FewShotClassifier(model), X, y, cv=2).shape == (2,)


def test_bad_input_is_named(model: GraphFewShot):
    X, y = points()
    for options, message in (
        ({"shots": 0}, "shots: expected a whole number from 1 up, or None for all, got 0"),
        ({"shots": 2.0}, "shots: expected a whole number from 1 up, or None for all, got 2.0"),
        ({"joint": "yes"}, "joint: expected True or False, got 'yes'"),
        ({"graph": "mine"}, "graph: expected a ClassGraph or a module with its call, got str"),
        ({"proportions": "equal"}, "proportions: expected joint=True with them, got joint=False"),
        ({"joint": True, "proportions": [0.5, 0.5]}, "proportions: expected 'equal' or a mapping from label"),
        ({"model": ClassGraph()}, "model: expected a GraphFewShot, got ClassGraph"),
        ({"model": model}, r"X: expected images uint8 \[n, C, H, W\], got float64 \[24, 32\]"),
    ):
        with pytest.raises(InputError, match=message):
            FewShotClassifier(**options).fit(X, y)
    clf = FewShotClassifier().fit(X, y)
    with pytest.raises(ValueError, match="X has 31 features, but FewShotClassifier is expecting 32"):
        clf.partial_fit(X[:, 1:], y)
    with pytest.raises(ValueError, match="Mix of label input types"):
        clf.partial_fit(X, np.zeros(len(X)))
    images = made_up_images(2, 3, 32, 1)
    small = made_up_images(2, 3, 16, 1)
    seen = FewShotClassifier(model).fit(images.items.numpy(), images.labels.numpy())
    with pytest.raises(InputError, match="X: expected images of the same size as before"):
        seen.predict(small.items.numpy())


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


def test_the_lines_of_the_readme_run():
    section = README.read_text().split("### As a scikit-learn estimator")[1]
    X, y = load_digits(return_X_y=True)
    names = {"X_support": X[:99], "y_support": y[:99], "X_query": X[99:], "y_query": y[99:]}
    exec(section.split("```python")[1].split("```")[0], names | {"X_new": X[:2], "y_new": [10, 10]})


def test_the_name_is_loaded_when_it_is_used():
    assert fewshot.FewShotClassifier is estimator.FewShotClassifier
    assert "FewShotClassifier" in fewshot.__all__


def test_a_refused_fit_leaves_the_estimator_as_it_was():
    X, y = load_digits(return_X_y=True)
    clf = FewShotClassifier().fit(X, y)
    before = clf.predict_proba(X)
    for other, labels in ((X[:, :2], np.linspace(0, 1, len(X))), (X[:, :2], y[:3]), (X * np.nan, y)):
        with pytest.raises(ValueError, match=r"."):
            clf.fit(other, labels)
        with pytest.raises(ValueError, match=r"."):
            clf.partial_fit(other, labels)
        assert np.array_equal(clf.predict_proba(X), before)


@pytest.mark.parametrize(
    ("X", "y"),
    [
        (torch.eye(3, dtype=torch.bfloat16), [0, 1, 2]),
        (torch.eye(3, requires_grad=True), [0, 1, 2]),
        (None, [0, 1, 2]),
    ],
)
def test_what_is_no_array_is_refused(X, y):
    with pytest.raises(ValueError, match=r"."):
        FewShotClassifier().fit(X, y)


@pytest.mark.parametrize(
    "y",
    [
        ["a", None, "b"],
        ["a", np.nan, "b"],
        [0, None, 1],
        np.array(["a", np.nan, "b"], dtype=object),
        np.array(["2026-01-01", "NaT", "2026-01-02"], dtype="datetime64[D]"),
    ],
    ids=str,
)
def test_a_missing_label_is_named(y):
    clf = FewShotClassifier()
    with pytest.raises(InputError, match=r"^y: expected a label for each row, got (None|nan|NaT) in row 1$"):
        clf.fit(np.eye(3), y)
    with pytest.raises(InputError, match=r"^classes: expected a label for each row, got "):
        clf.partial_fit(np.eye(3), [0, 1, 2], classes=y)


def test_missing_values_of_pandas_are_named():
    pd = pytest.importorskip("pandas")
    X, clf = np.eye(3), FewShotClassifier()
    for kind in ("string", "category", "Int64", "boolean", object):
        y = pd.Series([True, False, pd.NA] if kind == "boolean" else [1, 2, pd.NA], dtype=kind)
        with pytest.raises(ValueError, match=r"^y: .*got .* in row 2$|Input y contains NaN"):
            clf.fit(X, y)
    frame = pd.DataFrame(X).astype("Float64")
    assert clf.fit(frame, pd.Series([0, 1, 2], dtype="Int64")).predict(frame).tolist() == [0, 1, 2]
    frame.iloc[0, 1] = pd.NA
    for wrong in (frame, frame.astype(object), frame.to_numpy(object)):
        with pytest.raises(ValueError, match=r"X contains NaN|^X, y: expected arrays of numbers and labels"):
            clf.fit(wrong, [0, 1, 2])
        with pytest.raises(ValueError, match=r"X contains NaN|^X: expected arrays of numbers and labels"):
            clf.predict(wrong)


def test_text_among_numbers_is_named():
    with pytest.raises(InputError, match=r"^X, y: expected arrays .*could not convert string to float: 'a'"):
        FewShotClassifier().fit(np.array([[1.0, "a"], [0.0, 1.0]], dtype=object), [0, 1])


@pytest.mark.parametrize("shape", [(2, 1, 0, 0), (2, 1, 0, 8), (2, 1, 8, 0), (2, 0, 8, 8)])
def test_images_without_pixels_are_refused(model: GraphFewShot, shape):
    images = np.zeros(shape, np.uint8)
    with pytest.raises(InputError, match=r"^X: expected images uint8 \[n, C, H, W\], got uint8 \[2, "):
        FewShotClassifier(model).fit(images, [0, 1])
    data = LabelledSet(torch.from_numpy(images), torch.tensor([0, 1]), ("a", "b"))
    with pytest.raises(InputError, match=r"^images: expected uint8 \[n, C, H, W\], got uint8 \[2, "):
        model.features(data)


def test_a_module_without_the_graphs_call_is_refused():
    with pytest.raises(
        InputError, match="graph: expected a ClassGraph or a module with its call, got Linear"
    ):
        FewShotClassifier(graph=torch.nn.Linear(2, 2)).fit(np.eye(3), [0, 1, 2])
