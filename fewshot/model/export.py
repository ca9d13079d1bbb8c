"""A model for other runtimes: its backbone and its class graph, as ONNX or as programs of torch.export."""

from __future__ import annotations

import copy
import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from fewshot.core import results_file
from fewshot.core.errors import InputError
from fewshot.core.files import check_writable, remove, sweep, unfinished, write_text, writing
from fewshot.core.modes import check_inference
from fewshot.model.backbones.layers import in_channels
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.model_card import model_card
from fewshot.model.runtimes import Format, Inputs, Part, write_part

SUFFIX = {"onnx": "onnx", "torch": "pt2"}
ONNX = ("onnx", "onnxruntime", "onnxscript")
CHECKED = ((2, 1, 1, 1), (5, 1, 75, 64), (5, 5, 75, 8), (20, 5, 100, 30))  # way, shot, queries, known
TRACED = (3, 4, 6, 5)  # likewise; all different and none of them 1, so that tracing takes none for a constant


class Encoder(nn.Module):
    """Images uint8 ``[n, C, S, S]`` to what the class graph takes ``[n, D]``: centred and transformed."""

    def __init__(self, model: GraphFewShot) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: UInt8[Tensor, "n C S S"]) -> Float[Tensor, "n D"]:
        return self.model.transform(self.model.encode(images))


class Classifier(nn.Module):
    """The class graph in one mode, from supports ``[B, N, K, D]`` and queries ``[B, M, D]``.

    With known classes it also takes their prototypes ``[C, D]`` and relations ``[B, N, C]``, and gives the
    dependencies on them and the belief as further outputs.

    Supports that are nan count as padding, like those where ``support_mask`` is False: a mask would be one
    more input that every call has to give.
    """

    def __init__(self, graph: nn.Module, joint: bool, outputs: Sequence[str]) -> None:
        super().__init__()
        # Not named graph, since a program of torch.export already has an attribute of that name.
        self.method, self.joint, self.outputs = graph, joint, outputs

    def forward(
        self, support: Tensor, query: Tensor, known: Tensor | None = None, relations: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        told = {} if known is None else {"known": known, "relations": relations}
        there = ~support.isnan().any(-1)
        output = self.method(support, query, joint=self.joint, support_mask=there, **told)
        return tuple(getattr(output, name) for name in self.outputs)


def export_model(
    model: GraphFewShot,
    folder: str | Path,
    *,
    format: Format = "onnx",
    mode: str = "inductive",
    results: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """Write ``backbone`` and ``graph`` (.onnx or .pt2) and ``README.md``, a model card.

    The backbone takes images, with normalisation, base mean and transform inside; the graph takes its
    features. If the model has known classes, the graph also takes prototypes of known classes and relations
    to them, and the model's own known classes are written to ``known.safetensors`` and ``known.json``.
    Numbers of images, episodes, classes, shots, queries and known classes are free, and the graph takes
    features of any size. The exported programs are run and compared with the model's own outputs in float32.

    Args:
        model: a `GraphFewShot` whose images have a size, ``preprocess.size``.
        folder: a new or an empty one; it is written whole or not at all.
        format: "onnx" (default), or "torch": programs of torch.export.
        mode: of the graph: "inductive" (default) or "joint".
        results: rows of ``results.json``, for the card; default none.

    Returns:
        The folder.

    Raises:
        InputError: a folder with files in it, a model whose images have no size or that cannot be traced,
            outputs that differ by more than 1e-4, or missing packages that ONNX needs.

    >>> import tempfile
    >>> from fewshot import ClassGraph, backbones
    >>> from fewshot.model.few_shot import Preprocess
    >>> model = GraphFewShot(backbones.conv4(width=4), ClassGraph.pretrained(), preprocess=Preprocess(16, 3))
    >>> folder = export_model(model, tempfile.mkdtemp(), format="torch")
    >>> sorted(file.name for file in folder.iterdir())
    ['README.md', 'backbone.pt2', 'graph.pt2']
    """
    folder = Path(os.path.realpath(folder))
    check_target(folder, format, mode)
    image = _image_shape(model)
    parts = _parts(model, mode, image)
    with _appearing(folder) as temporary:
        files = [temporary / f"{part.name}.{SUFFIX[format]}" for part in parts]
        differences = [write_part(part, file, format) for part, file in zip(parts, files, strict=True)]
        features = parts[1].example[0].shape[-1]
        card = model_card(model, format, mode, image, features, max(differences), results)
        write_text(temporary / "README.md", card)
        if model.known is not None:
            model.known.save(temporary)
    return folder


def check_target(folder: Path, format: str, mode: str) -> None:
    """Raise an InputError if the folder has files in it, or a format or mode is unknown or not installed."""
    if format not in SUFFIX:
        raise InputError(f"format: expected one of {', '.join(SUFFIX)}, got {format!r}")
    check_inference(mode)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"out: expected a new or an empty folder, got {folder}, which is neither")
    check_writable(folder)
    missing = [name for name in ONNX if importlib.util.find_spec(name) is None] if format == "onnx" else []
    if missing:
        raise InputError(
            f"format: onnx needs {' and '.join(missing)} (pip install {' '.join(missing)}); "
            "or use --format torch"
        )


def read_results(checkpoint: Path) -> list[dict[str, Any]]:
    """The rows of the ``results.json`` next to a checkpoint; none if there is no such file.

    Raises:
        InputError: the file holds something else.
    """
    path = checkpoint.parent / "results.json"
    return results_file.read_results(path) if path.is_file() else []


def _image_shape(model: GraphFewShot) -> tuple[int, int, int]:
    size, channels = model.preprocess.size, model.preprocess.channels or in_channels(model.backbone)
    if size is None or channels is None:
        raise InputError("model: expected one whose preprocessing gives the images' size and channels")
    return channels, size, size


def _parts(model: GraphFewShot, mode: str, image: tuple[int, int, int]) -> tuple[Part, Part]:
    model = copy.deepcopy(model).cpu().eval()
    model.precision = "32-true"
    graph, model.graph = model.graph, nn.Identity()  # its weights belong to the other part
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (7, *image), dtype=torch.uint8, generator=generator)
    with torch.no_grad():
        features = Encoder(model)(images[:1]).shape[1]

    def episodes(way: int, shot: int, queries: int, known: int) -> Inputs:
        shapes = [(2, way, shot, features), (2, queries, features), (known, features), (2, way, known)]
        inputs = tuple(torch.randn(shape, generator=generator) for shape in shapes)
        if model.known is None:
            return inputs[:2]
        inputs[3][0, 0] = torch.nan  # nothing is known of one class
        return inputs

    backbone = Part(
        "backbone",
        Encoder(model),
        inputs={"images": {0: "n"}},
        outputs=("features",),
        example=(images[:2],),
        checks=[(images[:1],), (images,)],
    )
    inputs = {"support": {0: "B", 1: "N", 2: "K", 3: "D"}, "query": {0: "B", 1: "M", 2: "D"}}
    outputs = ["logits", "prototypes", "dependencies"]
    if model.known is not None:
        inputs |= {"known": {0: "C", 1: "D"}, "relations": {0: "B", 1: "N", 2: "C"}}
        outputs += ["known_dependencies", "belief"]
    classifier = Part(
        "graph",
        Classifier(graph, mode == "joint", outputs).eval(),
        inputs=inputs,
        outputs=outputs,
        example=episodes(*TRACED),
        checks=[episodes(*sizes) for sizes in CHECKED],
    )
    return backbone, classifier


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder, which replaces or fills ``folder`` at the end unless there was an error."""
    temporary = unfinished(folder)
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        sweep(folder.parent)
        temporary.mkdir()
        try:
            yield temporary
            if not folder.exists():
                temporary.rename(folder)
            else:  # and empty; kept, as it may be a working directory
                for file in temporary.iterdir():
                    file.rename(folder / file.name)
        finally:
            remove(temporary)
