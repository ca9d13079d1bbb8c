"""What a method may be made from."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from fewshot.data.labelled import FeatureSet
from fewshot.data.packed import Splits
from fewshot.model.few_shot import GraphFewShot


@dataclass(frozen=True)
class Material:
    """What a method may learn from before it sees the episodes; nothing in it is of a scored class.

    Args:
        way, shot, query: of the episodes to come; episodic training uses the same.
        seed: of its randomness.
        graph: the class graph to compare, after its transform of the features.
        train, val: features of the base and of the validation classes, minus the base classes' mean; None
            if there are none.
        base_mean: that mean, [D]; None if it is not known.
        model, images: a checkpoint and its images, for methods that work on images; None for features.
    """

    way: int
    shot: int
    query: int
    seed: int
    graph: nn.Module
    train: FeatureSet | None = None
    val: FeatureSet | None = None
    base_mean: Float[Tensor, " D"] | None = None
    model: GraphFewShot | None = None
    images: Splits | None = None
