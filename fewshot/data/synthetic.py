"""Synthetic data, for audits without a data set."""

import torch
from jaxtyping import Int64
from torch import Tensor

from fewshot.data.labelled import FeatureSet
from fewshot.data.packed import PackedDataset


def made_up_features(classes: int, images: int, seed: int = 0, size: int = 32) -> FeatureSet:
    """Gaussian clusters of features **[classes·images, size]**, close enough to be confused."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, 1, size, generator=generator)
    items = centres + 1.5 * torch.randn(classes, images, size, generator=generator)
    return FeatureSet(items.flatten(0, 1), *_labels(classes, images))


def made_up_images(classes: int, images: int, size: int, channels: int, seed: int = 0) -> PackedDataset:
    """Noise, half of it shared by the images of a class: uint8 **[classes·images, C, size, size]**."""
    generator = torch.Generator().manual_seed(seed)
    shape = channels, size, size
    common = torch.randint(128, (classes, 1, *shape), generator=generator)
    items = common + torch.randint(128, (classes, images, *shape), generator=generator)
    return PackedDataset(items.flatten(0, 1).to(torch.uint8), *_labels(classes, images))


def _labels(classes: int, images: int) -> tuple[Int64[Tensor, " n"], tuple[str, ...]]:
    names = tuple(f"class {c}" for c in range(classes))
    return torch.arange(classes).repeat_interleave(images), names
