"""A torch Dataset and a network of your own: methods compared in one call, nothing written to disk.

    python experiments/reuse/torch_dataset.py

The data set is of handwritten digits that come with scikit-learn; the network is small and random, so that
nothing is downloaded. Digits 0 to 4 are the classes that the network could have been trained on: their mean
is subtracted, and methods that learn, learn from them. Digits 5 to 9 are scored.
"""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import Dataset

import fewshot


class Digits(Dataset):
    """Images [1, 8, 8] from 0 to 1 with their digit, of some of the digits."""

    def __init__(self, digits: range) -> None:
        data = load_digits()
        chosen = [label in digits for label in data.target]
        self.images = torch.from_numpy(data.images[chosen]).float().unsqueeze(1) / 16
        self.labels = data.target[chosen].tolist()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], self.labels[index]


def network() -> nn.Module:
    """From images to features; yours would have weights."""
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveMaxPool2d(4), nn.Flatten()
    return nn.Sequential(*layers).eval()


def main(episodes: int = 500) -> dict[str, float]:
    splits = {"train": Digits(range(5)), "test": Digits(range(5, 10))}
    methods = ["simpleshot", "logistic-regression", "class-graph"]
    rows = fewshot.compare(splits, methods, model=network(), shot=5, episodes=episodes)
    print(rows)
    print(*rows.left_out, sep="\n")
    return {f"{row.name}, {row.mode}": row.accuracy for row in rows}


if __name__ == "__main__":
    main()
