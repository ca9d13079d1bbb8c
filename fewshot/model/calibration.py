"""What a checkpoint holds of its probabilities, found on classes that the backbone did not see."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from fewshot.core.errors import InputError
from fewshot.model.sure_sets import SureSets, setting, sure_sets


@dataclass(frozen=True, eq=False)
class Calibration:
    """What training found on the validation classes.

    Args:
        sure_sets: thresholds of sets of classes; default None: those that come with the package.
        prototypes: the scale of the prototypes method, see `fewshot.methods.prototypes.Scale`; default None:
            the usual one.
    """

    sure_sets: SureSets | None = None
    prototypes: tuple[float, float, float] | None = None

    @property
    def thresholds(self) -> SureSets:
        """Of sets of classes: its own, or those that come with the package."""
        return self.sure_sets or SureSets.shipped()

    def sets(
        self,
        probabilities: Float[np.ndarray, "M N"],
        chosen: Int[np.ndarray, " M"],
        sure: float,
        *,
        mode: str,
        shares: bool,
        shots: Int[np.ndarray, " N"],
        related: bool,
    ) -> Bool[np.ndarray, "M N"]:
        """The sets of M queries that are classified together, see `sure_sets`.

        Args:
            probabilities, chosen: of the classes, and the answers.
            sure: how often a set shall hold the right class, from 0.5 to 0.99.
            mode, shares, shots, related: see `setting`; a class that is ruled out does not count.
        """
        possible = (probabilities > 0).any(0)
        here = setting(mode, shares, shots[possible], len(probabilities), related)
        return sure_sets(probabilities, self.thresholds.threshold(sure, here), chosen)

    def content(self) -> dict[str, Any]:
        """As plain values.

        >>> Calibration(prototypes=(1.8, 0.3, 0.0)).content()
        {'sure_sets': None, 'prototypes': [1.8, 0.3, 0.0]}
        """
        return {
            "sure_sets": None if self.sure_sets is None else self.sure_sets.content(),
            "prototypes": None if self.prototypes is None else list(self.prototypes),
        }

    @classmethod
    def from_content(cls, content: Any, where: str) -> Calibration:
        """From what `content` gave, or from None.

        Args:
            content: of a file, which may hold anything.
            where: the file, for messages.

        Raises:
            InputError: not such a content.
        """
        if content is None:
            return cls()
        if not isinstance(content, dict):
            raise InputError(f"{where}: calibration: expected a mapping, got {type(content).__name__}")
        sets, scale = content.get("sure_sets"), content.get("prototypes")
        if scale is not None:
            right = isinstance(scale, list | tuple) and len(scale) == 3
            if not right or not all(isinstance(x, float | int) and math.isfinite(x) for x in scale):
                raise InputError(f"{where}: calibration: expected 3 finite numbers, got {scale!r:.60}")
            scale = (float(scale[0]), float(scale[1]), float(scale[2]))
        return cls(None if sets is None else SureSets.from_content(sets, where), scale)
