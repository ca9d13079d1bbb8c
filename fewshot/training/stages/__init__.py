"""The stages of training, in their order: `pretrain`, `meta` and `graph`."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from fewshot.core.loop import Stage
from fewshot.model.few_shot import GraphFewShot


@runtime_checkable
class Training(Protocol):
    """A stage before its turn: its section of the config, its samplers and its validation.

    Making one draws nothing, but raises an `InputError` if the data cannot serve it. Thus all stages of a run
    are made at its start, and begun one after the other.
    """

    name: str

    def begin(self, model: GraphFewShot) -> Stage:
        """What the loop trains, with the model as the earlier stages left it."""
