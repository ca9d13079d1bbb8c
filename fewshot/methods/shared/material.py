"""What a method may be made from."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from fewshot.data.labelled import FeatureSet
from fewshot.data.packed import Splits
from fewshot.graph.known_classes import KnownClasses
from fewshot.methods.prototypes import USUAL, Scale
from fewshot.methods.shared.call import FewShotCall
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
        known, known_relations: known classes, in the space after the graph's transform, and the relations
            among them [C, C], of the same kind as those to come; None without relations.
        scale: of the prototypes method, which calibrates its probabilities.
        tell: called with one line from time to time while a method learns; default: ignores it.
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
    known: KnownClasses | None = None
    known_relations: Float[Tensor, "C C"] | None = None
    scale: Scale = USUAL
    tell: Callable[[str], None] = lambda text: None

    @property
    def transform(self) -> nn.Module:
        """A copy of the transform before the class graph, on the CPU; the identity if there is none."""
        return deepcopy(getattr(self.graph, "transform", nn.Identity())).cpu()

    def transformed(self, method: FewShotCall) -> FewShotCall:
        """A method after that transform."""
        transform = self.transform
        return lambda support, query, **options: method(transform(support), transform(query), **options)
