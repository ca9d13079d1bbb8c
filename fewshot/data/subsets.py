"""Parts of packed sets, for what needs no more."""

from __future__ import annotations

import torch
from torch import Tensor

from fewshot.data.labelled import LabelledSet
from fewshot.data.packed import PackedDataset


def first_of_each(data: PackedDataset, images: int) -> LabelledSet:
    """The first images of each class, about so many in all, but 20 a class where it has them."""
    each = max(20, images // max(data.num_classes, 1))
    counts = data.counts
    place = torch.arange(len(data)) - (counts.cumsum(0) - counts)[data.labels]  # of an image in its class
    return _taken(data, (place < each).nonzero().flatten())


def spread(data: PackedDataset, images: int) -> LabelledSet:
    """About so many images at equal distances, whatever their classes."""
    return _taken(data, torch.arange(0, len(data), max(1, len(data) // images)))


def _taken(data: PackedDataset, index: Tensor) -> LabelledSet:
    return LabelledSet(data.items[index], data.labels[index], data.class_names)
