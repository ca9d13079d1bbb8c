"""The class graph on tables and on text, as a scikit-learn classifier in a pipeline.

    python experiments/reuse/tables_and_text.py

Tables that come with scikit-learn, and synthetic sentences of 8 topics as hashed words: 3 labelled rows per
class, the rest to be classified; the mean of 20 draws.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from fewshot import FewShotClassifier

SHOTS = 3


def dense(x: Any) -> np.ndarray:
    return x.toarray()


TABLE = (StandardScaler(),)
TEXT = (HashingVectorizer(n_features=512), FunctionTransformer(dense), StandardScaler(with_std=False))
CLASSIFIERS: dict[str, Callable[[], Any]] = {
    "logistic regression": lambda: LogisticRegression(max_iter=1000),
    "class graph": FewShotClassifier,
    "class graph, joint": lambda: FewShotClassifier(joint=True),
}


def sentences(topics: int = 8, each: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Sentences of 25 words, a third of them from the topic's own 15, the others from 200 common ones."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(topics), each)
    words = [
        [f"w{t}_{rng.integers(15)}" if rng.random() < 1 / 3 else f"w{rng.integers(200)}" for _ in range(25)]
        for t in labels
    ]
    return np.array([" ".join(line) for line in words]), labels


def sets() -> Iterator[tuple[str, tuple[Any, ...], Any, Any]]:
    for name, load in (("wine", load_wine), ("cancer", load_breast_cancer), ("digits", load_digits)):
        yield name, TABLE, *load(return_X_y=True)
    yield "sentences", TEXT, *sentences()


def accuracy(make: Callable[[], Any], steps: tuple[Any, ...], x: Any, y: Any, seed: int) -> float:
    rows = SHOTS * len(np.unique(y))
    few, rest, few_y, rest_y = train_test_split(x, y, train_size=rows, stratify=y, random_state=seed)
    return 100 * make_pipeline(*steps, make()).fit(few, few_y).score(rest, rest_y)


def main(draws: int = 20) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for name, steps, x, y in sets():
        found[name] = {
            classifier: float(np.mean([accuracy(make, steps, x, y, seed) for seed in range(draws)]))
            for classifier, make in CLASSIFIERS.items()
        }
        print(f"{name}: " + ", ".join(f"{c} {value:.1f}" for c, value in found[name].items()))
    return found


if __name__ == "__main__":
    main()
