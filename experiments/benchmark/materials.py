"""The data of the stages: the user's images and features, or generated ones that are always the same."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from fewshot.data.labelled import FeatureSet
from fewshot.data.loading import load
from fewshot.data.packed import PackedDataset


@dataclass(frozen=True, eq=False)
class Features:
    """Features of new classes and of base classes from a backbone, and the base classes' mean."""

    test: FeatureSet
    train: FeatureSet
    mean: Float[Tensor, " D"]

    @property
    def centred(self) -> FeatureSet:
        """The test features minus the base mean: the input of our methods."""
        return replace(self.test, items=self.test.items - self.mean)

    @property
    def centred_train(self) -> FeatureSet:
        """The base features minus their mean."""
        return replace(self.train, items=self.train.items - self.mean)


def features(file: Path | None, classes: int = 20, images: int = 500) -> Features:
    """The features of a file with a train and a test split, or generated ones."""
    if file is None:
        test, train = generated_features(classes, images, 1), generated_features(2 * classes, images, 0)
    else:
        test, train = FeatureSet.from_npz(file, "test"), FeatureSet.from_npz(file, "train")
    return Features(test, train, train.mean())


def generated_features(classes: int, images: int, seed: int, size: int = 256) -> FeatureSet:
    """Gaussian clusters after a ReLU: non-negative, like most backbones' features; as hard as photographs."""
    generator = torch.Generator().manual_seed(seed)
    centres = 0.3 * torch.randn(classes, 1, size, generator=generator)
    items = (centres + torch.randn(classes, images, size, generator=generator)).relu()
    names = tuple(f"class {c}" for c in range(classes))
    return FeatureSet(items.flatten(0, 1), torch.arange(classes).repeat_interleave(images), names)


def images(spec: str | None, size: int, classes: int = 20, count: int = 500) -> PackedDataset:
    """The test images of a data set in memory, or generated ones."""
    if spec is None:
        return generated_images(classes, count, size)
    data = load(spec, size=size).test
    return replace(data, items=data.items.clone(), path=None)


def generated_images(classes: int, count: int, size: int, seed: int = 0) -> PackedDataset:
    """Coloured clouds, partly shared within a class, as smooth as photographs: uint8 [n, 3, size, size]."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for _ in range(classes):  # one class at a time, as floats take four times the memory
        coarse = torch.rand(1, 3, 4, 4, generator=generator) + torch.rand(count, 3, 4, 4, generator=generator)
        fine = torch.rand(count, 3, 16, 16, generator=generator)
        clouds = sum(interpolate(x, size=(size, size), mode="bilinear") for x in (coarse, fine))
        parts.append((clouds * (255 / 3)).to(torch.uint8))
    labels = torch.arange(classes).repeat_interleave(count)
    return PackedDataset(torch.cat(parts), labels, tuple(f"class {c}" for c in range(classes)))
