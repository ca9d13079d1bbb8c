"""The model of a config, before training."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from fewshot.core.errors import InputError
from fewshot.core.seeds import seed, seeded
from fewshot.core.untrusted.tensors import check_state, read_tensors
from fewshot.data.packed import PackedDataset, Splits, evenly_spaced
from fewshot.graph.class_graph import ClassGraph
from fewshot.model import backbones
from fewshot.model.backbones.external import Outside, own_input
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.preprocess import Preprocess
from fewshot.training.config import Config


def build(config: Config, splits: Splits) -> GraphFewShot:
    """The model of a config, before training.

    Its weights are random, those of the graph included, except for a backbone with given weights.

    Raises:
        InputError: an unknown backbone, or images or weights that do not fit it.
    """
    arguments = config.backbone.arguments()
    if not backbones.is_outside(config.backbone.name):
        arguments["in_channels"] = config.images.channels or splits.train.channels
    with seeded(seed(config.seed, "weights")):
        backbone = backbones.build(arguments)
        graph = ClassGraph()
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


def _standardised(size: int, channels: int, data: PackedDataset) -> Preprocess:
    """Images of that size, with mean 0 and standard deviation 1 in each channel of the data."""
    values = Preprocess(size, channels, mean=(0.0,), std=(1.0,))(evenly_spaced(data, 4096).items)
    mean, std = values.mean((0, 2, 3)), values.std((0, 2, 3)).clamp(min=1e-2)
    return Preprocess(
        size, channels, [round(v, 4) for v in mean.tolist()], [round(v, 4) for v in std.tolist()]
    )


def load_weights(backbone: nn.Module, path: str | Path) -> None:
    """Load all weights of a backbone from the file of a state dict.

    Raises:
        InputError: no such file, not one of torch, or keys that are missing, unknown or of another shape.
    """
    if not Path(path).exists():
        raise InputError(f"weights: expected a file, got {path}, which does not exist")
    content = read_tensors(Path(path), "a state dict that torch.save wrote", legacy=True)
    state = check_state(content, path, "weights")
    ours = backbone.state_dict()
    wrong = {
        "missing": [key for key in ours if key not in state],
        "unknown": [key for key in state if key not in ours],
        "of another shape": [k for k in ours if k in state and ours[k].shape != state[k].shape],
    }
    if any(wrong.values()):
        reason = "; ".join(f"{kind}: {', '.join(keys)[:1000]}" for kind, keys in wrong.items() if keys)
        raise InputError(f"weights: {path} does not fit the backbone; {reason}")
    backbone.load_state_dict(state)


def image_size(config: Config) -> int | None:
    """The side at which images are packed: the config's, else the backbone's own, else None."""
    name = config.backbone.name
    return config.images.size or (own_input(name)["size"] if backbones.is_outside(name) else None)
