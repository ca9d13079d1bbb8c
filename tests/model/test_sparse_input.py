"""Sparse features, as text pipelines give them."""

import numpy as np
import pytest
from scipy.sparse import coo_array, csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline

from fewshot import FewShotClassifier, InputError

TEXTS = ["red apple", "green apple", "fast car", "red car", "apple pie", "slow car"]
LABELS = ["fruit", "fruit", "vehicle", "vehicle", "fruit", "vehicle"]


@pytest.mark.parametrize("form", [csr_matrix, coo_array])
def test_sparse_equals_dense(form) -> None:
    X = np.random.default_rng(0).normal(size=(12, 8)) * (np.random.default_rng(1).random((12, 8)) < 0.5)
    y = np.arange(12) % 3
    plain, sparse = FewShotClassifier().fit(X, y), FewShotClassifier().fit(form(X), y)
    np.testing.assert_allclose(sparse.predict_proba(form(X)), plain.predict_proba(X), atol=1e-12)
    sparse.partial_fit(form(X[:2]), [3, 3])
    assert sparse.classes_.tolist() == [0, 1, 2, 3]


def test_a_text_pipeline_needs_nothing_in_between() -> None:
    clf = make_pipeline(TfidfVectorizer(), FewShotClassifier()).fit(TEXTS, LABELS)
    assert clf.predict(["yellow apple", "new car"]).tolist() == ["fruit", "vehicle"]


def test_too_wide_a_matrix_is_refused_with_what_would_do() -> None:
    wide = csr_matrix((4, 2**27))
    with pytest.raises(InputError, match=r"X: expected at most .*TruncatedSVD\(300\) or HashingVectorizer"):
        FewShotClassifier().fit(wide, [0, 1, 0, 1])
