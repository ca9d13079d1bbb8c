"""Points of made-up classes, as a scikit-learn estimator is given them."""

import numpy as np

from fewshot.data.synthetic import made_up_features


def points(classes: int = 4, images: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features [classes·images, 32] in double precision and in random order, and text labels."""
    data = made_up_features(classes, images, seed)
    order = np.random.default_rng(seed).permutation(len(data))
    labels = np.array([f"class {c}" for c in range(classes)])[data.labels.numpy()]
    return data.items.double().numpy()[order], labels[order]


QUERIES = points(4, 5, seed=1)[0]
