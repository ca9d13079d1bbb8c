"""Which labels to check and what to label next, on features of your own.

    python experiments/reuse/what_to_label.py

Handwritten digits that come with scikit-learn, as pixels minus their mean. First two labels of a small set
are exchanged, and found. Then one image of each digit is labelled, and ten further ones are: those that are
suggested, or random ones.
"""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from fewshot import ClassGraph, FewShotClassifier
from fewshot.model.suggest import label_doubts, most_useful


def digits() -> tuple[Tensor, np.ndarray]:
    X, y = load_digits(return_X_y=True)
    return torch.from_numpy(X - X.mean(0)).float(), y


def suspects() -> list[tuple[int, int, int]]:
    """Class, place and the class that it looks like; 8 images per digit, of which two are exchanged."""
    X, y = digits()
    support = torch.stack([X[y == digit][:8] for digit in range(10)])  # [N, K, D]
    support[3, 0], support[7, 5] = support[7, 5].clone(), support[3, 0].clone()
    wrong, like = label_doubts(ClassGraph.pretrained(), support[None])
    return [(row, place, int(like[0, row, place])) for row, place in (wrong[0] > 0.5).nonzero().tolist()]


def accuracies(draws: int = 5) -> dict[str, float]:
    X, y = digits()
    found: dict[str, list[float]] = {"no further labels": [], "10 at random": [], "10 as suggested": []}
    for seed in range(draws):
        order = np.random.default_rng(seed).permutation(len(y))
        first = np.array([order[y[order] == digit][0] for digit in range(10)])
        pool, test = np.setdiff1d(order[:600], first), np.setdiff1d(order[600:], first)
        chosen = pool[most_useful(X[pool], X[first], 10).numpy()]
        for name, more in zip(found, ([], pool[:10], chosen), strict=True):
            rows = np.concatenate([first, np.array(more, int)])
            clf = FewShotClassifier().fit(X[rows].numpy(), y[rows])
            found[name].append(100 * clf.score(X[test].numpy(), y[test]))
    return {name: float(np.mean(values)) for name, values in found.items()}


def main() -> dict[str, float]:
    print("labels to check (class, place, looks like):", suspects())
    found = accuracies()
    print(", ".join(f"{name}: {value:.1f}" for name, value in found.items()))
    return found


if __name__ == "__main__":
    main()
