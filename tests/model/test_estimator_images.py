"""The scikit-learn estimator with a model, on images."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.model_selection import cross_val_score

from fewshot import ClassGraph, FewShotClassifier, GraphFewShot
from fewshot.data.synthetic import made_up_images
from fewshot.model.supports import content_keys


@pytest.mark.parametrize("joint", [False, True])
def test_with_a_model_it_is_the_model_on_images(image_model: GraphFewShot, joint: bool):
    data, query = made_up_images(4, 3, 16, 1), made_up_images(4, 2, 16, 1, seed=1).items
    clf = FewShotClassifier(image_model, joint=joint).fit(data.items.numpy(), data.labels.numpy())
    with torch.no_grad():
        out = image_model(data.items.view(1, 4, 3, 1, 16, 16), query[None], joint=joint)
    np.testing.assert_allclose(clf.decision_function(query.numpy()), out.logits[0], atol=1e-3)
    assert clf.n_features_in_ == 1
    # Another graph on the model's features, which are transformed.
    other = FewShotClassifier(image_model, ClassGraph.pretrained(), joint=joint)
    features = image_model.transform(image_model.features(data).items).numpy()
    queries = image_model.transform(image_model.encode(query)).detach().numpy()
    alone = FewShotClassifier(joint=joint).fit(features, data.labels.numpy()).predict_proba(queries)
    other.fit(data.items.numpy(), data.labels.numpy())
    np.testing.assert_allclose(other.predict_proba(query.numpy()), alone, atol=1e-3)


def test_images_come_in_pieces_and_are_pickled(image_model: GraphFewShot):
    data = made_up_images(4, 4, 16, 1)
    X, y = data.items.numpy(), data.labels.numpy()
    whole, pieces = FewShotClassifier(image_model, shots=2).fit(X, y), FewShotClassifier(image_model, shots=2)
    order = np.argsort(content_keys(X))
    for part in (order[9:15], order[:9], order[15:]):  # the last image is one that is not kept
        pieces.partial_fit(X[part], y[part])
    np.testing.assert_allclose(pieces.predict_proba(X), whole.predict_proba(X), atol=1e-6)
    np.testing.assert_allclose(
        FewShotClassifier(image_model, shots=2).fit(X[::-1], y[::-1]).predict_proba(X),
        whole.predict_proba(X),
        atol=1e-6,
    )
    again = pickle.loads(pickle.dumps(whole))
    np.testing.assert_allclose(again.predict_proba(X), whole.predict_proba(X), atol=1e-6)
    assert pieces.support_labels_.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert cross_val_score(FewShotClassifier(image_model), X, y, cv=2).shape == (2,)
