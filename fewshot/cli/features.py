"""`fewshot features`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fewshot.cli.output import check_outputs
from fewshot.core.errors import InputError
from fewshot.core.files import say, tell

if TYPE_CHECKING:
    from fewshot.data.labelled import FeatureSet, LabelledSet
    from fewshot.model.few_shot import GraphFewShot


def features(source: str, *, data: str, out: Path) -> None:
    """Write the features of a data set, with the classes' names and paths, for fewshot compare.

    Your own network is FILE.py:NAME, a function (or a module) from float images [n, C, H, W] to features
    [n, D]; NAME.input = {"size": 224, "channels": 3, "mean": [...], "std": [...]} says what it expects, with
    mean and std of values from 0 to 1 (default: the data's own size, values from -1 to 1).

    Example: fewshot features timm:resnet18.a1_in1k --data folder:photos --out photos.npz
    Example: fewshot features mine.py:encode --data folder:photos --out photos.npz

    Args:
        source: What fewshot train wrote, a ready model (imagenet, timm:NAME or torchvision:NAME), or
            FILE.py:NAME.
        data: KIND[:PATH]; all its splits are encoded.
        out: The file to write; its name ends in .npz.
    """
    from fewshot.data.features_file import write_features
    from fewshot.evaluation.inputs import load_data

    if out.suffix.lower() != ".npz":
        raise InputError(f"out: expected a file that ends in .npz, got '{out}'")
    check_outputs(out, inputs=[Path(source)])
    model = _encoder(source)
    splits, class_ids = {}, {}
    for split, images in load_data(model, data):
        if len(images):
            tell(f"{split}: encoding {len(images):,} images")
            splits[split], class_ids[split] = _encoded(model, images, source), images.class_ids
    write_features(out, splits, class_ids)
    say(out)


def _encoded(model: GraphFewShot, images: LabelledSet, source: str) -> FeatureSet:
    """Their features; what fails in the user's own network is one line."""
    from fewshot.core.own_code import is_own, where

    try:
        found = model.features(images)
    except Exception as error:
        if not is_own(source) or isinstance(error, InputError):
            raise
        raise InputError(f"source: {source} failed: {where(error)}") from error
    if found.items.isfinite().all():
        return found
    raise InputError(f"source: expected finite features of {source}, got NaN or infinity")


def _encoder(source: str) -> GraphFewShot:
    """A checkpoint, a ready model, or the user's own network, on the GPU if there is one."""
    import torch

    from fewshot.core.own_code import is_own
    from fewshot.evaluation.inputs import load_model
    from fewshot.graph.class_graph import ClassGraph
    from fewshot.model.backbones.own import own_backbone
    from fewshot.model.few_shot import GraphFewShot

    if not is_own(source):
        return load_model(source)
    model = GraphFewShot(own_backbone(source), ClassGraph.pretrained(), precision="32-true").eval()
    return model.to("cuda" if torch.cuda.is_available() else "cpu")
