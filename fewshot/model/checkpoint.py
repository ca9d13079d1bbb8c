"""What a checkpoint file holds: plain values and tensors only, so that reading one executes nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fewshot.core.errors import InputError
from fewshot.core.untrusted.guard import brief
from fewshot.core.untrusted.tensors import check_state, field, read_tensors
from fewshot.graph.known_classes import KnownClasses

FORMAT = 3  # 1 had a graph of other parts, 2 one scalar less
VECTORS = ("base_mean", "transform.low", "transform.centre")  # have the size of the features, or none


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU.

    Raises:
        InputError: the file is missing, truncated, foreign or of another format.
    """
    if not path.is_file():
        raise InputError(f"checkpoint: expected a file that `fewshot train` wrote, got {path}")
    content = read_tensors(path, "a checkpoint of fewshot")
    if not isinstance(content, dict) or content.get("format") != "fewshot":
        raise InputError(f"{path}: expected a checkpoint of fewshot (it holds something else)")
    if content.get("version") != FORMAT:
        raise InputError(
            f"{path}: expected a checkpoint of format {FORMAT}, got {brief(content.get('version'))}; "
            "train it again, or use the version of fewshot that wrote it"
        )
    _check_fields(content, path)
    return content


def check_shapes(backbone: nn.Module, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Compare a backbone's weights with those of a checkpoint, before memory is taken for them.

    Args:
        backbone: on torch's device "meta", where weights have shapes only.
        state: the checkpoint's ``state``.
        path: of the file, for errors.

    Raises:
        InputError: a weight is missing, or has another shape.
    """
    for name, expected in backbone.state_dict().items():
        given = state.get(f"backbone.{name}")
        if given is None or given.shape != expected.shape:
            got = "none" if given is None else list(given.shape)
            raise InputError(
                f"{path}: its weights do not fit the model: backbone.{name}: "
                f"expected {list(expected.shape)}, got {got}"
            )


def _check_fields(content: Mapping[str, Any], path: Path) -> None:
    """Refuse what is missing or of another kind; values are checked by what they are arguments of."""
    field(content, "backbone", (dict, type(None)), path)
    field(content, "graph", dict, path)
    field(content, "preprocess", dict, path)
    field(content, "mirror", bool, path)
    field(content, "precision", str, path)
    field(content, "known", (dict, type(None)), path)
    state = check_state(field(content, "state", dict, path), path)
    extra = field(content, "extra", dict, path)
    if "config" in extra:
        config = field(extra, "config", dict, f"{path}: extra")
        if "data" in config:
            field(config, "data", str, f"{path}: extra.config")
    if "agreement" in extra and not math.isfinite(field(extra, "agreement", (int, float), f"{path}: extra")):
        raise InputError(f"{path}: extra: agreement: expected a finite number")
    for name in field(extra, "wnids", (list, type(None)), f"{path}: extra") or ():
        if not isinstance(name, str):
            raise InputError(f"{path}: extra: wnids: expected text, got {brief(name)}")
    for name in VECTORS:
        if name in state and (state[name].dim() != 1 or state[name].dtype != torch.float32):
            kind = f"{str(state[name].dtype).removeprefix('torch.')} {list(state[name].shape)}"
            raise InputError(f"{path}: state: {name}: expected float32 [D], got {kind}")
    if len({state[name].numel() for name in VECTORS if name in state} - {0}) > 1:
        raise InputError(f"{path}: state: expected {', '.join(VECTORS)} of one size")


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
