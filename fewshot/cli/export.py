"""`fewshot export`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from fewshot.core.files import expanded, say
from fewshot.core.modes import Inference


def export(
    checkpoint: str,
    *,
    format: Literal["onnx", "torch"] = "onnx",
    mode: Inference = "inductive",
    out: Path | None = None,
) -> None:
    """Write backbone and class graph for other runtimes, with a model card.

    The class graph of a checkpoint with known classes also takes known classes and relations as inputs.

    Example: fewshot export runs/glyphs/checkpoint.pt --format onnx --mode joint

    Args:
        checkpoint: What fewshot train wrote, or a ready model (imagenet).
        format: ONNX files, or programs of torch.export, which need only torch.
        mode: The graph looks at each query on its own, or at all queries together (transductive).
        out: A new folder; default next to the checkpoint (of a ready model: here), named by format and mode.
    """
    from fewshot.model.export import check_target, export_model, read_results
    from fewshot.model.few_shot import GraphFewShot
    from fewshot.model.ready import is_ready

    own = is_ready(checkpoint)
    home = Path() if own else Path(checkpoint).parent
    out = expanded(out or home / f"{format}-{mode}")
    check_target(out, format, mode)  # before anything is loaded
    model = GraphFewShot.load(checkpoint)
    results = [] if own else read_results(Path(checkpoint))
    export_model(model, out, format=format, mode=mode, results=results)
    for file in sorted(out.iterdir()):
        say(file)
