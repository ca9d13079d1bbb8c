"""`fewshot features`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fewshot.cli.output import check_outputs
from fewshot.core.errors import InputError
from fewshot.core.files import say, tell

if TYPE_CHECKING:
    from fewshot.model.few_shot import GraphFewShot


def features(source: str, *, data: str, out: Path) -> None:
    """Write the features of a data set, with the classes' names and paths, for fewshot compare.

    Example: fewshot features timm:resnet18.a1_in1k --data folder:photos --out photos.npz

    Args:
        source: What fewshot train wrote, or a network with published weights: timm:NAME or torchvision:NAME.
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
            splits[split], class_ids[split] = model.features(images), images.class_ids
    write_features(out, splits, class_ids)
    say(out)


def _encoder(source: str) -> GraphFewShot:
    """A checkpoint, or a network of another library, on the GPU if there is one."""
    import torch

    from fewshot.evaluation.inputs import load_model
    from fewshot.graph.class_graph import ClassGraph
    from fewshot.model.backbones.external import LIBRARIES, outside
    from fewshot.model.few_shot import GraphFewShot

    if source.partition(":")[0] not in LIBRARIES:
        return load_model(Path(source))
    backbone = outside(source, pretrained=True, frozen=True)
    model = GraphFewShot(backbone, ClassGraph.pretrained()).eval()
    return model.to("cuda" if torch.cuda.is_available() else "cpu")
