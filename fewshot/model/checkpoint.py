"""What a checkpoint file holds: plain values and tensors only, so that reading one executes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from fewshot.core.errors import InputError
from fewshot.graph.known_classes import KnownClasses

FORMAT = 2  # 1 had a graph of other parts


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU.

    Raises:
        InputError: the file is missing, truncated, foreign or of another format.
    """
    if not path.is_file():
        raise InputError(f"checkpoint: expected a file that `fewshot train` wrote, got {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch, zipfile and pickle each raise their own for a broken file
        raise InputError(f"{path}: not a checkpoint of fewshot, or a truncated one") from error
    if not isinstance(content, dict) or content.get("format") != "fewshot":
        raise InputError(f"{path}: not a checkpoint of fewshot")
    if content.get("version") != FORMAT:
        raise InputError(
            f"{path}: expected a checkpoint of format {FORMAT}, got {content.get('version')}; "
            "train it again, or use the version of fewshot that wrote it"
        )
    return content


def known_content(known: KnownClasses | None) -> dict[str, Any] | None:
    """Known classes as plain values and a tensor on the CPU.

    >>> known_content(KnownClasses(torch.eye(2), ("cat", "dog")))
    {'prototypes': tensor([[1., 0.],
            [0., 1.]]), 'names': ['cat', 'dog'], 'paths': None}
    """
    return None if known is None else {"prototypes": known.prototypes.cpu(), **known.describe()}


def known_from(content: Mapping[str, Any] | None, path: str | Path, size: int = 0) -> KnownClasses | None:
    """The known classes of a checkpoint, from what `known_content` gave; None for None.

    Args:
        content: prototypes, names and paths.
        path: of the file, for errors.
        size: D of the model's features; default 0: not known.

    Raises:
        InputError: prototypes that are not finite floats ``[C, D]``, or not one name and path per class.
    """
    if content is None:
        return None
    try:
        known = KnownClasses(content["prototypes"], content["names"], content["paths"])
        if size and known.prototypes.shape[1] != size:
            raise InputError(f"prototypes: expected {size} features, got {known.prototypes.shape[1]}")
    except Exception as error:  # a file may hold anything
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        reason = " ".join(str(error).split()[:30])
        raise InputError(f"{path}: its known classes do not fit: {kind}{reason}") from error
    return known
