"""Few-shot image classification with a learned graph of the episode's classes.

The names below are loaded when they are first used, so that ``import fewshot`` and the command line's
``--help`` stay instant.
"""

from typing import TYPE_CHECKING

from fewshot.core.lazy import Aliases, face
from fewshot.core.version import __version__ as __version__

if TYPE_CHECKING:
    from fewshot import evaluation, methods
    from fewshot import graph as functional
    from fewshot.core import taxonomy
    from fewshot.core.errors import InputError
    from fewshot.data.labelled import FeatureSet
    from fewshot.data.loading import load
    from fewshot.data.packed import PackedDataset
    from fewshot.episodes.episode import Episode
    from fewshot.episodes.sampler import EpisodeSampler
    from fewshot.graph.class_graph import ClassGraph
    from fewshot.graph.conv import ClassGraphConv
    from fewshot.graph.head import PrototypeHead
    from fewshot.graph.known_classes import KnownClasses
    from fewshot.graph.transform import PowerTransform, Transformed
    from fewshot.model import backbones
    from fewshot.model.estimator import FewShotClassifier
    from fewshot.model.few_shot import GraphFewShot
    from fewshot.report.comparison import compare

Aliases(
    {
        "fewshot.backbones": "fewshot.model.backbones",
        "fewshot.functional": {
            "candidate_cosines": "fewshot.graph.trust",
            "check_episodes": "fewshot.graph.checks",
            "class_nodes": "fewshot.graph.vectors",
            "collect": "fewshot.graph.trust",
            "coupling": "fewshot.graph.coupling",
            "edge_cosines": "fewshot.graph.conv",
            "label_posterior": "fewshot.graph.trust",
            "leave_one_out_cosines": "fewshot.graph.trust",
            "masked_softmax": "fewshot.graph.vectors",
            "nearest_classes": "fewshot.graph.edges",
            "normalize": "fewshot.graph.vectors",
            "own_class": "fewshot.graph.trust",
            "pairwise_cosine": "fewshot.graph.handicap",
            "shrink": "fewshot.graph.span",
            "weighted_sums": "fewshot.graph.vectors",
        },
        "fewshot.taxonomy": "fewshot.core.taxonomy",
    }
).install()

__getattr__, __dir__ = face(
    __name__,
    {
        "ClassGraph": "fewshot.graph.class_graph",
        "ClassGraphConv": "fewshot.graph.conv",
        "Episode": "fewshot.episodes.episode",
        "EpisodeSampler": "fewshot.episodes.sampler",
        "FeatureSet": "fewshot.data.labelled",
        "FewShotClassifier": "fewshot.model.estimator",
        "GraphFewShot": "fewshot.model.few_shot",
        "InputError": "fewshot.core.errors",
        "KnownClasses": "fewshot.graph.known_classes",
        "PackedDataset": "fewshot.data.packed",
        "PowerTransform": "fewshot.graph.transform",
        "PrototypeHead": "fewshot.graph.head",
        "Transformed": "fewshot.graph.transform",
        "compare": "fewshot.report.comparison",
        "load": "fewshot.data.loading",
    },
    modules=("backbones", "evaluation", "functional", "methods", "taxonomy"),
)

__all__ = [
    "ClassGraph",
    "ClassGraphConv",
    "Episode",
    "EpisodeSampler",
    "FeatureSet",
    "FewShotClassifier",
    "GraphFewShot",
    "InputError",
    "KnownClasses",
    "PackedDataset",
    "PowerTransform",
    "PrototypeHead",
    "Transformed",
    "backbones",
    "compare",
    "evaluation",
    "functional",
    "load",
    "methods",
    "taxonomy",
]
