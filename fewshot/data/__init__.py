"""Data: labelled sets, packed images, and the sources they are made from."""

from fewshot.data.packed import FeatureSet, LabelledSet, PackedDataset, Splits

__all__ = ["FeatureSet", "LabelledSet", "PackedDataset", "Splits"]
