"""Features of the pictures of a page, held in memory: an action reads only the files that are new."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.image_files import BATCH, cache_for, encode_files

MOST = 50_000  # files

State = tuple[str, int, int]


def state(file: Path) -> State:
    """What stays the same while a file stays where it is: its path, time of change and size.

    Raises:
        OSError: no such file.
    """
    found = file.stat()
    return str(file), found.st_mtime_ns, found.st_size


class Features:
    """Features of files by their `state`; of at most 50,000 files, those that came last.

    Args:
        model: encodes them.
    """

    def __init__(self, model: GraphFewShot) -> None:
        self.model = model
        self._kept: dict[State, Float[Tensor, " D"]] = {}
        self._cache = cache_for(model)

    def of(self, files: Sequence[Path]) -> Float[Tensor, "n D"]:
        """The features of at least one file.

        Raises:
            InputError: a file that cannot be read or decoded.
        """
        keys = [_state(file) for file in files]
        new = [place for place, key in enumerate(keys) if key not in self._kept]
        if new:
            features = encode_files(self.model, [files[place] for place in new], self._cache)
            self._kept |= {keys[place]: row for place, row in zip(new, features, strict=True)}
        found = torch.stack([self._kept[key] for key in keys])
        for key in list(self._kept)[: max(0, len(self._kept) - MOST)]:
            del self._kept[key]
        return found

    def readable(self, files: Sequence[Path]) -> tuple[list[Path], list[str]]:
        """The files that can be encoded, and a line for each that cannot."""
        good: list[Path] = []
        lines: list[str] = []
        for start in range(0, len(files), BATCH):
            some = files[start : start + BATCH]
            try:
                self.of(some)
                good += some
            except InputError:  # one is broken: find out which
                for file in some:
                    try:
                        self.of([file])
                        good.append(file)
                    except InputError as error:
                        lines.append(f"{file.name}: {str(error).rpartition(': ')[2]}")
        return good, lines


def _state(file: Path) -> State:
    try:
        return state(file)
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from None
