"""The choice of the methods and modes to compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fewshot.core.errors import InputError
from fewshot.core.modes import Mode
from fewshot.methods import catalogue, own
from fewshot.methods.catalogue import Method

YARDSTICK = "prototypes"
GRAPH, TRANSFORMED = "class-graph", "transformed"  # what the first is above the second is the graph's


def choose_modes(mode: str = "all", proportions: str = "both") -> tuple[str, ...]:
    """The names of the modes that a user's options ask for.

    Args:
        mode: "inductive", "joint", or "all" (default).
        proportions: the joint modes that are given the classes' shares ("known"), those that are not
            ("unknown"), or "both" (default).

    >>> choose_modes(), choose_modes("joint", "known"), choose_modes(proportions="unknown")
    (('inductive', 'joint', 'joint-known'), ('joint-known',), ('inductive', 'joint'))
    """
    return tuple(
        one.value
        for one in Mode
        if mode in ("all", "joint" if one.joint else "inductive")
        and (not one.joint or proportions in ("both", "known" if one.known else "unknown"))
    )


def choose(
    names: str | Sequence[Any] | None,
    modes: Iterable[str] = tuple(Mode),
    lacks: Mapping[str, str] | None = None,
    relations: bool = False,
    untransformed: str | None = None,
) -> tuple[list[Method], list[str]]:
    """The methods to compare, and one line for each reason why some are left out.

    With the class graph comes *transformed*, prototypes after the same transform.

    Args:
        names: as `fewshot.methods.own.find` takes them; None: all of the catalogue that need no images (those
            train for minutes).
        modes: those to compare in; default all.
        lacks: those of the methods' ``needs`` that are not met, each with the reason; default none.
        relations: whether there are relations to known classes; default False.
        untransformed: why there is no transform before the class graph, if there is none; default None.

    Raises:
        InputError: an unknown name, or a named method that cannot be compared.
    """
    modes, lacks = set(modes), lacks or {}
    reasons: dict[str, list[str]] = {}
    chosen = []
    for method in with_transformed(own.find(names)):
        reason = lacks.get(method.needs)
        if method.name == TRANSFORMED and untransformed is not None:
            reasons.setdefault(untransformed, []).append(method.name)
            continue
        if not modes & set(method.modes) and method.name != YARDSTICK:
            if names is None:
                continue
            reason = f"its modes are {', '.join(method.modes)}"
        elif method.relations == "must" and not relations:
            if names is None:
                continue
            reason = "it needs relations to known classes; --relations gives them"
        elif reason is None and names is None and method.needs == "images":
            reason = "training on images takes minutes; --methods NAME,NAME,... includes them"
        if reason is None:
            chosen.append(method)
        elif names is not None:
            raise InputError(f"methods: {method.name} cannot be compared here: {reason}")
        else:
            reasons.setdefault(reason, []).append(method.name)
    return chosen, [f"left out: {', '.join(names)} ({reason})" for reason, names in reasons.items()]


def with_transformed(methods: Sequence[Method]) -> list[Method]:
    """The methods, with *transformed* in front of the class graph unless it is one of them.

    >>> [method.name for method in with_transformed(catalogue.find("tim,class-graph"))]
    ['tim', 'transformed', 'class-graph']
    """
    names = {method.name for method in methods}
    if GRAPH not in names or TRANSFORMED in names:
        return list(methods)
    place = [method.name for method in methods].index(GRAPH)
    further = [method for method in catalogue.METHODS if method.name == TRANSFORMED]
    return [*methods[:place], *further, *methods[place:]]


def choose_reference(
    reference: Any,
    chosen: Sequence[Method],
    lacks: Mapping[str, str] | None = None,
    untransformed: str | None = None,
) -> Method:
    """The method that all others are compared with: one of those chosen, or another.

    Args:
        reference: a name, ``FILE.py:NAME``, a function or class, or a `Method`.
        chosen: the methods to compare.
        lacks, untransformed: as in `choose`; default none.

    Raises:
        InputError: no such method, or one that cannot be compared here.

    >>> choose_reference("tim", []).name
    'tim'
    """
    try:
        [method] = own.find([reference])
    except InputError as error:
        raise InputError(str(error).replace("methods:", "reference:", 1)) from error.__cause__
    reason = untransformed if method.name == TRANSFORMED else (lacks or {}).get(method.needs)
    if method.relations == "must":
        reason = "it needs relations, and the first rows are without"
    if reason is not None:
        raise InputError(f"reference: {method.name} cannot be compared here: {reason}")
    return next((other for other in chosen if other.name == method.name), method)
