"""What the description of a pack holds, checked key by key."""

from __future__ import annotations

from typing import Any

from fewshot.core.errors import InputError
from fewshot.core.untrusted.guard import brief
from fewshot.data.labelled import SPLITS

LARGEST_SIDE = 2**14  # pixels
TEXT = (str, type(None))
PACK = {"format": (int,), "name": (str,), "channels": (int,), "size": (int,), "hash": (str,)}
CLASS = {"id": (str,), "name": (str,), "superclass": TEXT, "taxonomy": TEXT, "count": (int,)}


def check_meta(meta: Any) -> None:
    """Raise an InputError unless this is the description of a pack: splits with their classes and counts."""
    _check(
        meta, "meta", {"format": (int,), "name": (str,), "channels": (int,), "size": (int,), "hash": (str,)}
    )
    if meta["channels"] not in (1, 3) or not 1 <= meta["size"] <= LARGEST_SIDE:
        raise InputError(f"size: expected images of 1 or 3 channels, got {meta['channels']}, {meta['size']}")
    splits = meta.get("splits")
    _check(splits, "splits", dict.fromkeys(SPLITS, (dict,)))
    for split in SPLITS:
        _check(splits[split], split, {"hash": (str,), "classes": (list,)})
        for entry in splits[split]["classes"]:
            _check(entry, f"{split}.classes", CLASS)
            if entry["count"] < 0 or not isinstance(entry.get("path", ""), str):
                raise InputError(f"{split}.classes: expected counts from 0 up and paths as text")


def _check(content: Any, where: str, kinds: dict[str, tuple[type, ...]]) -> None:
    if not isinstance(content, dict):
        raise InputError(f"{where}: expected keys and values, got {brief(content)}")
    for key, kind in kinds.items():
        if not isinstance(content.get(key, kinds), kind) or isinstance(content[key], bool):
            raise InputError(f"{where}.{key}: expected {kind[0].__name__}, got {brief(content.get(key))}")
