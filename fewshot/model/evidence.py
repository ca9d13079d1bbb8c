"""What a user knows of the query set: classes and groups of classes that are there, or are not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from fewshot.core.class_names import look_up
from fewshot.core.errors import InputError
from fewshot.core.taxonomy import Path
from fewshot.core.wordnet import plain, wordnet


class Evidence(NamedTuple):
    """What is known of N classes, for one episode.

    ``classes`` **[1, N]**: 1 if a class is there, 0 if it is not, NaN if unknown. ``groups``: places of
    classes of which at least one is there.
    """

    classes: Float[Tensor, "1 N"]
    groups: tuple[tuple[int, ...], ...] = ()

    def settled(self, probabilities: Float[Tensor, "M N"]) -> Float[Tensor, "1 N"]:
        """The evidence with each group's likeliest class taken to be there.

        Args:
            probabilities: of the queries' classes, without the groups.

        >>> some = Evidence(torch.tensor([[torch.nan, torch.nan, 0.0]]), ((0, 1),))
        >>> some.settled(torch.tensor([[0.2, 0.8, 0.0]]))
        tensor([[nan, 1., 0.]])
        """
        classes, mass = self.classes.clone(), probabilities.sum(0)
        for group in self.groups:
            if not (classes[0, list(group)] == 1).any():
                possible = [place for place in group if classes[0, place] != 0]
                classes[0, max(possible, key=lambda place: float(mass[place]))] = 1
        return classes


def evidence(
    names: Sequence[str],
    absent: Sequence[str] = (),
    present: Sequence[str] = (),
    paths: Mapping[str, Path] | None = None,
) -> Evidence | None:
    """What is known of the query set; None if nothing is.

    Args:
        names: the N classes.
        absent: classes, or groups of which no class is there.
        present: classes, or groups of which at least one class is there. A class's own name comes first.
        paths: the classes' paths, by name; default None: there are no groups.

    Raises:
        InputError: neither a class nor a group of classes, both absent and present, or nothing remains.

    >>> paths = {"crow": ("bird", "crow"), "gull": ("bird", "gull"), "saw": ("tool", "saw")}
    >>> evidence(list(paths), absent=["saw"], present=["birds"], paths=paths)
    Evidence(classes=tensor([[nan, nan, 0.]]), groups=((0, 1),))
    """
    if not absent and not present:
        return None
    paths = paths or {}
    known = torch.full((1, len(names)), math.nan)
    found = {
        option: {name: _places(option, name, names, paths) for name in chosen}
        for option, chosen in (("absent", absent), ("present", present))
    }
    for places in found["absent"].values():
        known[0, places] = 0
    groups = []
    for name, places in found["present"].items():
        possible = [place for place in places if known[0, place] != 0]
        if not possible:
            kind = "class" if name in names else "group"
            raise InputError(f"absent: {kind} {name!r} is given as both absent and present")
        if len(possible) == 1:
            known[0, possible] = 1
        else:
            groups.append(tuple(possible))
    if (known == 0).all():
        raise InputError("absent: expected at least one class to remain, got all of them")
    return Evidence(known, tuple(groups))


def classes_below(group: str, paths: Sequence[Path]) -> list[int]:
    """The places of the paths that go through a group, named as in the paths or by a synonym of WordNet.

    >>> classes_below("Birds", [("animal", "bird", "crow"), (), ("tool", "saw")])
    [0]
    """
    words = wordnet()
    for name in (plain(group), *words.singulars(plain(group))):
        if found := [place for place, path in enumerate(paths) if name in map(plain, path)]:
            return found
    meant = look_up(group)
    above = [] if meant.guess else [words.path(sense) for sense in meant.senses]
    return [place for place, path in enumerate(paths) if any(path[: len(start)] == start for start in above)]


def _places(option: str, name: str, names: Sequence[str], paths: Mapping[str, Path]) -> list[int]:
    if name in names:
        return [list(names).index(name)]
    if found := classes_below(name, [paths.get(own, ()) for own in names]):
        return found
    groups = ", or a group of them" if any(paths.values()) else ""
    raise InputError(f"{option}: expected one of {', '.join(names)}{groups}, got {name!r}")
