"""A method of your own next to others: the table, the picture, and a test on the accuracies per episode.

    python experiments/reuse/own_method.py [--out methods.png]

``median`` is inductive. ``Shifted`` learns from the training classes and has a joint mode, as its attributes
say. The same two work on the command line:

    fewshot compare FEATURES.npz --methods experiments/reuse/own_method.py:median
"""

import argparse
from pathlib import Path

import torch
from scipy.stats import wilcoxon
from torch import Tensor

import fewshot
from fewshot.data.synthetic import made_up_features
from fewshot.methods.shared.material import Material


def median(support: Tensor, query: Tensor, **_: object) -> Tensor:
    """Distance to each class's median."""
    return -torch.cdist(query, support.median(2).values)


class Shifted:
    """Prototypes on features scaled by their spread within the training classes; joint: centred together."""

    needs, modes, title = "base", ("inductive", "joint"), "shifted prototypes"

    def __init__(self, material: Material) -> None:
        base = material.train
        means = torch.stack([base.items[base.labels == c].mean(0) for c in range(base.num_classes)])
        self.scale = (base.items - means[base.labels]).std(0)

    def __call__(self, support: Tensor, query: Tensor, *, joint: bool = False, **_: object) -> Tensor:
        support, query = support / self.scale, query / self.scale
        if joint:  # the supports' mean moves to that of the queries
            support = support - support.mean((1, 2), keepdim=True) + query.mean(1)[:, None, None]
        return -torch.cdist(query, support.mean(2))


def main(out: Path | None = None, episodes: int = 300) -> dict[str, float]:
    data = {"train": made_up_features(20, 30, seed=0), "test": made_up_features(10, 30, seed=1)}
    rows = fewshot.compare(data, [median, Shifted, "simpleshot"], shot=5, episodes=episodes)
    print(rows)
    broken = {row.name: [check.name for check in row.checks if check.passed is False] for row in rows}
    print("what a result depends on although it must not:", broken)
    test = wilcoxon(rows[1].per_episode - rows[0].per_episode)
    print(f"{rows[1].name} and {rows[0].name} differ: p = {test.pvalue:.2g} (Wilcoxon, per episode)")
    if out is not None:
        print(rows.draw(out, "made-up features"))
    return {f"{row.name}, {row.mode}": row.accuracy for row in rows}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A method of your own next to others.")
    parser.add_argument("--out", type=Path, help="the picture")
    main(parser.parse_args().out)
