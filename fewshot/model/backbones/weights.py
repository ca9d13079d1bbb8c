"""Weights of a backbone from a file: a state dict of torch, or safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from fewshot.core.errors import InputError
from fewshot.core.files import expanded
from fewshot.core.untrusted.tensors import check_state, read_safetensors, read_tensors

SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")
WITHIN = ("state_dict", "model", "model_state_dict")  # under which training scripts keep their weights


def is_file(weights: str) -> bool:
    """Whether weights are given as a file, not as the name of published ones.

    >>> is_file("runs/mine.pth"), is_file("IMAGENET1K_V2")
    (True, False)
    """
    return Path(weights).suffix in SUFFIXES or "/" in weights or Path(weights).is_file()


def read_state(path: str | Path, option: str = "weights") -> dict[str, Tensor]:
    """The state dict in a file. Nothing in the file is executed.

    What training scripts add is taken off: the keys ``state_dict`` or ``model`` around it, and the prefix
    ``module.`` of parallel training.

    Args:
        path: the file.
        option: for errors; default "weights".

    Raises:
        InputError: no such file, or not a state dict.
    """
    path = expanded(path)
    if not path.is_file():
        raise InputError(f"{option}: expected a file, got {path}, which does not exist")
    try:
        state = _read(path)
    except InputError as error:
        raise InputError(f"{option}: {error}") from error
    for key in WITHIN:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping):
        raise InputError(f"{option}: expected a state dict in {path}, got {type(state).__name__}")
    if state and all(str(key).startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return dict(state)


def load_weights(
    backbone: nn.Module, path: str | Path, option: str = "weights", headless: bool = False
) -> None:
    """Load all weights of a backbone from a file.

    Args:
        backbone: takes them.
        path: the file.
        option: for errors; default "weights".
        headless: whether the file may hold more, such as the classifier that the backbone lacks; default
            False.

    Raises:
        InputError: see `read_state`; or keys that are missing, unknown or of another shape.
    """
    state, ours = read_state(path, option), backbone.state_dict()
    wrong = {
        "missing": [key for key in ours if key not in state],
        "unknown": [key for key in state if key not in ours and not headless],
        "of another shape": [k for k in ours if k in state and ours[k].shape != _shape(state[k])],
    }
    if any(wrong.values()):
        reason = "; ".join(f"{kind}: {_some(keys)}" for kind, keys in wrong.items() if keys)
        raise InputError(f"{option}: {path} does not fit the backbone; {reason}")
    backbone.load_state_dict(check_state({key: state[key] for key in ours}, path, option))


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return read_safetensors(path, "a safetensors file")
    return read_tensors(path, "a file that torch.save wrote", legacy=True)


def _shape(value: Any) -> Any:
    return getattr(value, "shape", None)


def _some(keys: list[str]) -> str:
    """Not more than a few keys."""
    return ", ".join(keys[:6]) + (f" and {len(keys) - 6} more" if len(keys) > 6 else "")
