"""Data: from files of any kind to packed images."""

from fewshot.core.lazy import face

__getattr__, __dir__ = face(
    __name__,
    {
        "download": "fewshot.data.downloads",
        "pack_dataset": "fewshot.data.from_torch",
        "read_class_table": "fewshot.data.class_table",
        "write_features": "fewshot.data.features_file",
        "FeatureSet": "fewshot.data.labelled",
        "LabelledSet": "fewshot.data.labelled",
        "benchmark_of": "fewshot.data.loading",
        "check": "fewshot.data.loading",
        "info": "fewshot.data.loading",
        "load": "fewshot.data.loading",
        "pack": "fewshot.data.loading",
        "PackedDataset": "fewshot.data.packed",
        "Splits": "fewshot.data.packed",
        "open_pack": "fewshot.data.packed",
        "find_paths": "fewshot.data.paths",
    },
)
