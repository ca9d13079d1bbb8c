"""Data: labelled sets, packed images, and the sources they are made from."""

from fewshot.data.packed import FeatureSet, LabelledSet, PackedDataset, Splits, open_pack

__all__ = ["FeatureSet", "LabelledSet", "PackedDataset", "Splits", "open_pack"]
