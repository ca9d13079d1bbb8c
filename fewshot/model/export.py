"""A model for other runtimes: its backbone and its class graph, as ONNX or as programs of torch.export."""

from __future__ import annotations

import copy
import importlib.util
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jaxtyping
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from fewshot.core.errors import InputError
from fewshot.core.files import read_json
from fewshot.core.modes import check_inference
from fewshot.model.backbones.layers import in_channels
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.model_card import RESULT, model_card

Format = Literal["onnx", "torch"]
Inputs = tuple[Tensor, ...]
Run = Callable[[Inputs], list[Tensor]]
SUFFIX = {"onnx": "onnx", "torch": "pt2"}
ONNX = ("onnx", "onnxruntime", "onnxscript")
TOLERANCE = 1e-4
CHECKED = ((2, 1, 1), (5, 1, 75), (5, 5, 75), (20, 5, 100))  # way, shot, queries
TRACED = (3, 4, 6)  # likewise; all different and none of them 1, so that tracing takes none for a constant


class Encoder(nn.Module):
    """Images uint8 ``[n, C, S, S]`` to what the class graph takes ``[n, D]``: centred and transformed."""

    def __init__(self, model: GraphFewShot) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: UInt8[Tensor, "n C S S"]) -> Float[Tensor, "n D"]:
        return self.model.transform(self.model.encode(images))


class Classifier(nn.Module):
    """The class graph in one mode, from supports ``[B, N, K, D]`` and queries ``[B, M, D]``.

    Supports that are nan count as padding, like those where ``support_mask`` is False: a mask would be one
    more input that every call has to give.
    """

    def __init__(self, graph: nn.Module, joint: bool) -> None:
        super().__init__()
        # Not named graph, since a program of torch.export already has an attribute of that name.
        self.method, self.joint = graph, joint

    def forward(self, support: Tensor, query: Tensor) -> tuple[Tensor, ...]:
        there = ~support.isnan().any(-1)
        return tuple(self.method(support, query, joint=self.joint, support_mask=there))


@dataclass(frozen=True)
class Part:
    """A module to export, with the names of its outputs, of its inputs and of their free dimensions."""

    name: str
    module: nn.Module
    inputs: Mapping[str, Mapping[int, str]]
    outputs: Sequence[str]
    example: Inputs  # for tracing
    checks: Sequence[Inputs]  # for comparing the result with the module


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
    features. Numbers of images, episodes, classes, shots and queries are free, and the graph takes features
    of any size. The exported programs are run and compared with the model's own outputs in float32.

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
    folder = Path(folder).resolve()
    check_target(folder, format, mode)
    image = _image_shape(model)
    parts = _parts(model, mode, image)
    with _appearing(folder) as temporary:
        differences = [_write(part, temporary / f"{part.name}.{SUFFIX[format]}", format) for part in parts]
        features = parts[1].example[0].shape[-1]
        card = model_card(model, format, mode, image, features, max(differences), results)
        (temporary / "README.md").write_text(card, encoding="utf-8")
    return folder


def check_target(folder: Path, format: str, mode: str) -> None:
    """Raise an InputError if the folder has files in it, or a format or mode is unknown or not installed."""
    if format not in SUFFIX:
        raise InputError(f"format: expected one of {', '.join(SUFFIX)}, got {format!r}")
    check_inference(mode)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"out: expected a new or an empty folder, got {folder}, which is neither")
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
    if not path.is_file():
        return []
    try:
        rows = read_json(path)
        if all(row.keys() >= RESULT for row in rows):
            return rows
    except (ValueError, AttributeError, TypeError):  # not JSON, not a list, not rows
        pass
    raise InputError(f"{path}: expected the results of a run as `fewshot train` writes them")


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

    def episodes(way: int, shot: int, queries: int) -> Inputs:
        shapes = (2, way, shot, features), (2, queries, features)
        return tuple(torch.randn(shape, generator=generator) for shape in shapes)

    backbone = Part(
        "backbone",
        Encoder(model),
        inputs={"images": {0: "n"}},
        outputs=("features",),
        example=(images[:2],),
        checks=[(images[:1],), (images,)],
    )
    classifier = Part(
        "graph",
        Classifier(graph, joint=mode == "joint").eval(),
        inputs={"support": {0: "B", 1: "N", 2: "K", 3: "D"}, "query": {0: "B", 1: "M", 2: "D"}},
        outputs=("logits", "prototypes", "dependencies"),
        example=episodes(*TRACED),
        checks=[episodes(*sizes) for sizes in CHECKED],
    )
    return backbone, classifier


def _write(part: Part, path: Path, format: Format) -> float:
    """Write a part; returns the largest difference of its outputs from the module's, see `_difference`."""
    dims = {name: Dim(name) for free in part.inputs.values() for name in free.values()}
    shapes = {name: {axis: dims[dim] for axis, dim in free.items()} for name, free in part.inputs.items()}
    try:
        with _tracing():
            program = torch.export.export(part.module, part.example, dynamic_shapes=shapes, strict=False)
            for node in program.graph.nodes:
                node.meta.pop("stack_trace", None)  # paths of this machine
            run = _save_onnx(part, program, shapes, path) if format == "onnx" else _save_torch(program, path)
    except Exception as error:  # tracing, translating and serialising each raise their own
        cause: BaseException = error
        while cause.__cause__:  # it is more specific than the exporter's own error
            cause = cause.__cause__
        reason = " ".join(str(cause).split()[:30])
        raise InputError(f"{part.name}: cannot be exported ({type(cause).__name__}: {reason})") from error
    difference = max(_difference(part.module, run, inputs) for inputs in part.checks)
    if not difference <= TOLERANCE:
        raise InputError(f"{part.name}: the exported outputs differ from the model's by {difference:.1g}")
    return difference


def _save_onnx(part: Part, program: ExportedProgram, shapes: dict[str, Any], path: Path) -> Run:
    import onnxruntime

    made = torch.onnx.export(
        program,
        dynamo=True,
        input_names=list(part.inputs),
        output_names=list(part.outputs),
        dynamic_shapes=shapes,
        verbose=False,
    )
    assert made is not None
    made.save(path, external_data=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(inputs: Inputs) -> list[Tensor]:
        feeds = {name: x.numpy() for name, x in zip(part.inputs, inputs, strict=True)}
        return [torch.from_numpy(x) for x in session.run(None, feeds)]

    return run


def _save_torch(program: ExportedProgram, path: Path) -> Run:
    torch.export.save(program, path)
    module = torch.export.load(path).module()

    def run(inputs: Inputs) -> list[Tensor]:
        outputs = module(*inputs)
        return [outputs] if isinstance(outputs, Tensor) else list(outputs)

    return run


@torch.no_grad()
def _difference(module: nn.Module, run: Run, inputs: Inputs) -> float:
    """The largest difference in any output, relative to its largest number if that is above 1."""
    expected = module(*inputs)
    expected = [expected] if isinstance(expected, Tensor) else expected
    pairs = zip(run(inputs), expected, strict=True)
    return max(float((x - y).abs().max() / y.abs().max().clamp_min(1)) for x, y in pairs)


@contextmanager
def _tracing() -> Iterator[None]:
    """Settings for tracing a module: quietly, with gradients, and without checks of shapes at run time."""
    logger, disabled = logging.getLogger("torch.onnx"), jaxtyping.config.jaxtyping_disable
    level = logger.level
    logger.setLevel(logging.ERROR)  # exporters log their internals
    jaxtyping.config.update("jaxtyping_disable", True)  # the checks would fix free dimensions
    try:
        # Without gradients a backbone may take a path that is only good on this processor.
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        jaxtyping.config.update("jaxtyping_disable", disabled)


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder, which replaces or fills ``folder`` at the end unless there was an error."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if not folder.exists():
            temporary.rename(folder)
        else:  # and empty; kept, as it may be a working directory
            for file in temporary.iterdir():
                file.rename(folder / file.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
