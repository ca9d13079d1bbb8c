"""The methods to compare with, by name: what each is, what it may look at, and how it is made ready."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from fewshot.data.labelled import FeatureSet
from fewshot.data.packed import Splits
from fewshot.errors import InputError
from fewshot.graph import ClassGraph
from fewshot.methods.prototypes import prototypes
from fewshot.model import GraphFewShot


@dataclass(frozen=True)
class Material:
    """What a method may learn from before it meets the episodes; nothing in it is of a test class.

    Args:
        way, shot, query: of the episodes to come; what learns episodically trains on such.
        seed: of its randomness.
        graph: the class graph to compare.
        train, val: features of the base and of the validation classes, minus the base classes' mean; None
            where there are none.
        model, images: a checkpoint and its images, for methods that work on images; None on features.
    """

    way: int
    shot: int
    query: int
    seed: int
    graph: ClassGraph
    train: FeatureSet | None = None
    val: FeatureSet | None = None
    model: GraphFewShot | None = None
    images: Splits | None = None


@dataclass(frozen=True)
class Method:
    """A method of the comparison.

    Args:
        name: on the command line.
        title, paper: for tables.
        make: from `Material` to its call, which is the class graph's: ``call(support, query, joint=...,
            support_mask=..., class_mask=..., query_mask=..., proportions=...)`` to logits ``[B, M, N]``.
        modes: of `fewshot.stages.MODES`, what it looks at: each query on its own (inductive), all queries
            together (joint), or with their classes' shares known (joint-known).
        needs: "features" of the episode alone, "base" features to learn from, or "images".
    """

    name: str
    title: str
    paper: str
    make: Callable[[Material], Callable[..., Any]]
    modes: tuple[str, ...] = ("inductive",)
    needs: Literal["features", "base", "images"] = "features"


METHODS: tuple[Method, ...] = (
    Method("prototypes", "ProtoNet", "Snell et al. 2017", lambda material: prototypes),
    Method(
        "class-graph",
        "class graph",
        "this package",
        lambda material: material.graph,
        modes=("inductive", "joint", "joint-known"),
    ),
)


def find(names: str | None) -> list[Method]:
    """The methods of a list of names with commas between; all of them where it is None.

    Raises:
        InputError: no method has that name.

    >>> [method.title for method in find("class-graph,prototypes")]
    ['class graph', 'ProtoNet']
    """
    if names is None:
        return list(METHODS)
    known = {method.name: method for method in METHODS}
    for name in names.split(","):
        if name not in known:
            raise InputError(f"methods: expected any of {', '.join(known)}, got {name!r}")
    return [known[name] for name in names.split(",")]
