"""A module written for another runtime, and compared there with the module itself."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jaxtyping
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from fewshot.core.errors import InputError
from fewshot.core.files import write_bytes

Format = Literal["onnx", "torch"]
Inputs = tuple[Tensor, ...]
Run = Callable[[Inputs], list[Tensor]]
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Part:
    """A module to export, with the names of its outputs, of its inputs and of their free dimensions."""

    name: str
    module: nn.Module
    inputs: Mapping[str, Mapping[int, str]]
    outputs: Sequence[str]
    example: Inputs  # for tracing
    checks: Sequence[Inputs]  # for comparing the result with the module


def write_part(part: Part, path: Path, format: Format) -> float:
    """Write a part; returns the largest difference of its outputs from the module's, see `_difference`."""
    dims = {name: Dim(name) for free in part.inputs.values() for name in free.values()}
    shapes = {name: {axis: dims[dim] for axis, dim in free.items()} for name, free in part.inputs.items()}
    try:
        with _tracing():
            program = torch.export.export(part.module, part.example, dynamic_shapes=shapes, strict=False)
            for node in program.graph.nodes:
                node.meta.pop("stack_trace", None)  # paths of this machine
            run = _save_onnx(part, program, shapes, path) if format == "onnx" else _save_torch(program, path)
    except (InputError, OSError):  # a full disk
        raise
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
    stream = io.BytesIO()  # if the disk is full, torch's own writer raises errors that do not say so
    torch.export.save(program, stream)
    write_bytes(path, stream.getbuffer())
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
