"""What the scikit-learn estimator refuses, by name."""

import numpy as np
import pytest
import torch
from points import points
from sklearn.datasets import load_digits

from fewshot import ClassGraph, FewShotClassifier, GraphFewShot, InputError
from fewshot.data.labelled import LabelledSet
from fewshot.data.synthetic import made_up_images


def test_bad_input_is_named(image_model: GraphFewShot):
    X, y = points()
    for options, message in (
        ({"shots": 0}, "shots: expected a whole number from 1 up, or None for all, got 0"),
        ({"shots": 2.0}, "shots: expected a whole number from 1 up, or None for all, got 2.0"),
        ({"joint": "yes"}, "joint: expected True or False, got 'yes'"),
        ({"graph": "mine"}, "graph: expected a ClassGraph or a module with its call, got str"),
        ({"proportions": "equal"}, "proportions: expected joint=True with them, got joint=False"),
        ({"joint": True, "proportions": [0.5, 0.5]}, "proportions: expected 'equal' or a mapping from label"),
        ({"model": ClassGraph()}, "model: expected a GraphFewShot, got ClassGraph"),
        ({"model": image_model}, r"X: expected images uint8 \[n, C, H, W\], got float64 \[24, 32\]"),
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
    seen = FewShotClassifier(image_model).fit(images.items.numpy(), images.labels.numpy())
    with pytest.raises(InputError, match="X: expected images of the same size as before"):
        seen.predict(small.items.numpy())


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
def test_images_without_pixels_are_refused(image_model: GraphFewShot, shape):
    images = np.zeros(shape, np.uint8)
    with pytest.raises(InputError, match=r"^X: expected images uint8 \[n, C, H, W\], got uint8 \[2, "):
        FewShotClassifier(image_model).fit(images, [0, 1])
    data = LabelledSet(torch.from_numpy(images), torch.tensor([0, 1]), ("a", "b"))
    with pytest.raises(InputError, match=r"^images: expected uint8 \[n, C, H, W\], got uint8 \[2, "):
        image_model.features(data)


def test_a_module_without_the_graphs_call_is_refused():
    with pytest.raises(
        InputError, match="graph: expected a ClassGraph or a module with its call, got Linear"
    ):
        FewShotClassifier(graph=torch.nn.Linear(2, 2)).fit(np.eye(3), [0, 1, 2])
