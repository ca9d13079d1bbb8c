"""Data: labelled sets, packed images, and the sources they are made from."""

from fewshot.data.downloads import download
from fewshot.data.from_torch import pack_dataset
from fewshot.data.labelled import FeatureSet, LabelledSet
from fewshot.data.loading import benchmark_of, check, info, load, pack
from fewshot.data.packed import PackedDataset, Splits, open_pack

__all__ = [
    "FeatureSet",
    "LabelledSet",
    "PackedDataset",
    "Splits",
    "benchmark_of",
    "check",
    "download",
    "info",
    "load",
    "open_pack",
    "pack",
    "pack_dataset",
]
