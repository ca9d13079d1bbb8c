"""Features from elsewhere, such as CLIP's: what to subtract, a file, and all methods on the same episodes.

    python experiments/reuse/clip_features.py [FEATURES.npy LABELS.npy]

Without files, the pixels of handwritten digits stand for features of a network; like those of CLIP they all
point the same way. There are no base classes: the mean that is subtracted is that of unlabelled images, here
of a part that is not scored. Prints the figures with nothing subtracted, and with that mean.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import normalize

import fewshot


def mean_cosine(features: np.ndarray) -> float:
    """Of two images, on average. Near 0: nothing has to be subtracted."""
    return normalize(torch.from_numpy(features).float()).mean(0).square().sum().item()


def main(features: np.ndarray, labels: np.ndarray, episodes: int = 500) -> dict[str, float]:
    order = np.random.default_rng(0).permutation(len(labels))
    pool, rest = order[: len(order) // 3], order[len(order) // 3 :]
    print(f"mean cosine of two images: {mean_cosine(features):.2f}")
    file = Path(tempfile.mkdtemp()) / "features.npz"
    found = {}
    for name, mean in (("nothing subtracted", 0.0), ("mean of a pool", features[pool].mean(0))):
        X, y = features[rest] - mean, labels[rest]
        np.savez(file, features=X, labels=y, split=np.full(len(y), "test"))
        rows = fewshot.compare(file, "class-graph", episodes=episodes, proportions="unknown")
        print(f"\n{name} (fewshot compare {file.name} --methods class-graph)\n{rows}")
        found |= {f"{row.name}, {row.mode}, {name}": row.accuracy for row in rows}
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="All methods on features from elsewhere.")
    parser.add_argument("files", type=Path, nargs="*", help="features [n, D] and labels [n], as .npy")
    files = parser.parse_args().files
    digits = load_digits(return_X_y=True)
    main(*([np.load(file) for file in files] or digits))
