"""Features of base classes by backbones that never saw them, so that the graph is tuned on unseen classes.

    python experiments/fold_features.py --data miniimagenet:PATH/tiny-imagenet-fs.tar --out FOLDER

divides the train split's classes into folds; for each, a backbone is trained on the classes of all other
folds by the recipe of the config, and encodes the images of all classes. ``FOLDER/fold0.npz``, ``fold1.npz``,
… hold features ``[n, D]``, labels (the classes' identifiers, such as wnids), the classes' names and paths,
and the split: "train" (the classes that the backbone saw) and "val" (those of the fold). The val and test
splits of the data are not touched.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from lightning.fabric import Fabric

from fewshot.core.loop import fit
from fewshot.data.features_file import write_features
from fewshot.data.loading import load
from fewshot.data.packed import PackedDataset, Splits
from fewshot.methods.shared.fitting import Silent
from fewshot.training.build import build
from fewshot.training.config import read
from fewshot.training.plan import planned


def take(data: PackedDataset, classes: torch.Tensor) -> PackedDataset:
    """Some of a data set's classes, ascending."""
    chosen = torch.isin(data.labels, classes)
    labels = torch.searchsorted(classes, data.labels[chosen])
    kept = classes.tolist()
    return replace(
        data,
        items=data.items[chosen],
        labels=labels,
        class_names=tuple(data.class_names[c] for c in kept),
        class_ids=tuple(data.class_ids[c] for c in kept),
        superclasses=None,
        taxonomy=None,
        paths=data.paths and tuple(data.paths[c] for c in kept),
        hash="",
    )


def folds(classes: int, number: int, seed: int) -> list[torch.Tensor]:
    order = torch.randperm(classes, generator=torch.Generator().manual_seed(seed))
    return [part.sort().values for part in order.chunk(number)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="SPEC of the data")
    parser.add_argument("--config", default="tiny-imagenet-fs", help="the recipe")
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--only", type=int, help="only this fold")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder for the .npz files")
    arguments = parser.parse_args()

    changes = {
        "data": arguments.data,
        "seed": arguments.seed,
        "pretrain.epochs": arguments.epochs,
        "pretrain.validate_every": arguments.epochs,
        "meta": None,
        "graph": None,
    }
    config = read(arguments.config, changes)
    splits = load(config.data, size=config.images.size, channels=config.images.channels)
    parts = folds(splits.train.num_classes, arguments.folds, arguments.seed)
    for number, held_out in enumerate(parts):
        if arguments.only not in (None, number):
            continue
        seen = torch.cat([part for part in parts if part is not held_out]).sort().values
        fold: Splits = replace(splits, train=take(splits.train, seen), val=take(splits.train, held_out))
        torch.manual_seed(arguments.seed)
        model = build(config, fold)
        (pretraining,) = planned(config, fold).stages
        fit(pretraining.begin(model), Fabric(devices=1, accelerator="cpu"), Silent())
        features = {"train": model.features(fold.train), "val": model.features(fold.val)}
        identifiers = {"train": fold.train.class_ids, "val": fold.val.class_ids}
        write_features(arguments.out / f"fold{number}.npz", features, identifiers)


if __name__ == "__main__":
    main()
