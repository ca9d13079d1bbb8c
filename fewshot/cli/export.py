"""`fewshot export`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from fewshot.core.files import say
from fewshot.core.modes import Inference


def export(
    checkpoint: Path,
    *,
    format: Literal["onnx", "torch"] = "onnx",
    mode: Inference = "inductive",
    out: Path | None = None,
) -> None:
    """Write backbone and class graph for other runtimes, with a model card.

    The class graph of a checkpoint with known classes also takes known classes and relations as inputs.

    Example: fewshot export runs/glyphs/checkpoint.pt --format onnx --mode joint

    Args:
        checkpoint: What fewshot train wrote.
        format: ONNX files, or programs of torch.export, which need only torch.
        mode: The graph looks at each query on its own, or at all queries together (transductive).
        out: A new folder; default next to the checkpoint, named by format and mode.
    """
    from fewshot.model.export import check_target, export_model, read_results
    from fewshot.model.few_shot import GraphFewShot

    out = out or checkpoint.parent / f"{format}-{mode}"
    check_target(out, format, mode)  # before anything is loaded
    model, results = GraphFewShot.load(checkpoint), read_results(checkpoint)
    export_model(model, out, format=format, mode=mode, results=results)
    for file in sorted(out.iterdir()):
        say(file)
