"""Few-shot image classification with a learned graph of the episode's classes.

The names below are loaded when they are first used, so that ``import fewshot`` and the command line's
``--help`` stay instant.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fewshot import backbones, evaluation, functional, methods
    from fewshot.data import FeatureSet, PackedDataset, load
    from fewshot.episodes import Episode, EpisodeSampler
    from fewshot.errors import InputError
    from fewshot.estimator import FewShotClassifier
    from fewshot.graph import ClassGraph, ClassGraphConv
    from fewshot.heads import PrototypeHead
    from fewshot.model import GraphFewShot
    from fewshot.transform import PowerTransform, Transformed

_HOME = {
    "ClassGraph": "graph",
    "ClassGraphConv": "graph",
    "Episode": "episodes",
    "EpisodeSampler": "episodes",
    "FeatureSet": "data",
    "FewShotClassifier": "estimator",
    "GraphFewShot": "model",
    "InputError": "errors",
    "PackedDataset": "data",
    "PowerTransform": "transform",
    "PrototypeHead": "heads",
    "Transformed": "transform",
    "load": "data",
}
_MODULES = ("backbones", "evaluation", "functional", "methods")

__all__ = [
    "ClassGraph",
    "ClassGraphConv",
    "Episode",
    "EpisodeSampler",
    "FeatureSet",
    "FewShotClassifier",
    "GraphFewShot",
    "InputError",
    "PackedDataset",
    "PowerTransform",
    "PrototypeHead",
    "Transformed",
    "backbones",
    "evaluation",
    "functional",
    "load",
    "methods",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"fewshot.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(f"fewshot.{_HOME[name]}"), name)
    raise AttributeError(f"module 'fewshot' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
