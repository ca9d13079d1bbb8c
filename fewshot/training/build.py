"""The model of a config, before training."""

from __future__ import annotations

from fewshot.core.errors import InputError
from fewshot.core.seeds import seed, seeded
from fewshot.data.packed import PackedDataset, Splits, evenly_spaced
from fewshot.graph.class_graph import ClassGraph
from fewshot.model import backbones
from fewshot.model.backbones.external import Outside, own_input
from fewshot.model.backbones.weights import load_weights
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.preprocess import Preprocess
from fewshot.model.ready import IMAGENET, SIZE, ready
from fewshot.training.config import Config


def build(config: Config, splits: Splits) -> GraphFewShot:
    """The model of a config, before training.

    Its weights are random, except for a backbone with given weights. The graph is an untrained one if the
    config trains it, else the one that comes with the package.

    Raises:
        InputError: an unknown backbone, or images or weights that do not fit it.
    """
    arguments, ready_one = config.backbone.arguments(), config.backbone.name == IMAGENET
    own_file = None
    if not backbones.is_outside(config.backbone.name):
        arguments["in_channels"] = config.images.channels or splits.train.channels
        own_file = arguments.pop("weights", None)
    with seeded(seed(config.seed, "weights")):
        backbone = _ready_backbone(config) if ready_one else backbones.build(arguments)
        graph = ClassGraph() if config.trains_graph else ClassGraph.pretrained()
    if own_file is not None:
        load_weights(backbone, own_file, "backbone.weights")
    if config.weights is not None:
        load_weights(backbone, config.weights)
    size = config.images.size or splits.train.size
    if size < 16:
        raise InputError(f"images.size: expected at least 16, got {size}, the side of the data's images")
    if isinstance(backbone, Outside):
        backbone.out_features(size)  # raises an error if the backbone does not take that size
        preprocess = Preprocess(**{**backbone.input, "size": size})
    else:
        preprocess = _standardised(size, arguments["in_channels"], splits.train)
    return GraphFewShot(
        backbone, graph, preprocess=preprocess, mirror=config.mirror, precision=config.precision
    )


def _ready_backbone(config: Config) -> Outside:
    """The network of the ready model, which has its weights and is not trained."""
    if not config.backbone.frozen:
        raise InputError(f"backbone.frozen: expected true with {IMAGENET}, which has its weights")
    return ready(IMAGENET).backbone


def _standardised(size: int, channels: int, data: PackedDataset) -> Preprocess:
    """Images of that size, with mean 0 and standard deviation 1 in each channel of the data."""
    values = Preprocess(size, channels, mean=(0.0,), std=(1.0,))(evenly_spaced(data, 4096).items)
    mean, std = values.mean((0, 2, 3)), values.std((0, 2, 3)).clamp(min=1e-2)
    return Preprocess(
        size, channels, [round(v, 4) for v in mean.tolist()], [round(v, 4) for v in std.tolist()]
    )


def image_size(config: Config) -> int | None:
    """The side at which images are packed: the config's, else the backbone's own, else None."""
    name = config.backbone.name
    if config.images.size or name == IMAGENET:
        return config.images.size or SIZE
    return own_input(name)["size"] if backbones.is_outside(name) else None
