"""Relations of the scored classes to known ones, as a command asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from fewshot.core import taxonomy
from fewshot.core.errors import InputError
from fewshot.data.labelled import FeatureSet, LabelledSet
from fewshot.episodes.episode import Episode
from fewshot.graph.known_classes import KnownClasses
from fewshot.graph.vectors import normalize

KINDS = ("none", "taxonomy", "looks", "shuffled")
Given = tuple[Float[Tensor, "C D"], Float[Tensor, "B N C"]]


@runtime_checkable
class Knowledge(Protocol):
    """What a method is given from outside an episode: known classes, and relations to them."""

    def given(self, episode: Episode) -> Given:
        """The known classes' prototypes and the relations of the episode's classes, on its device."""


@dataclass(frozen=True, eq=False)
class Relations:
    """Relations of the classes of a data set to known classes; see `relate`.

    Args:
        kind: of `KINDS`, except "none".
        known: the known classes, in the space after ``transform``.
        rows: similarities ``[classes, C]``, larger is nearer; None: looks, found in each episode.
        among: the same similarity among the known classes ``[C, C]``.
        transform: of features to the space of the known classes; default none.
    """

    kind: str
    known: KnownClasses
    rows: Float[Tensor, "classes C"] | None
    among: Float[Tensor, "C C"]
    transform: nn.Module = field(default_factory=nn.Identity)

    def given(self, episode: Episode) -> Given:
        """The known classes' prototypes and the relations of the episode's classes, on its device.

        A row of NaN is given for a class that is padding.
        """
        here = episode.classes.device if episode.support is None else episode.support.device
        if self.rows is None:
            assert episode.support is not None
            found = looks(self.transform(episode.support.cpu()), episode.support_mask, self.known.prototypes)
        else:
            found = self.rows[episode.classes.cpu().clamp(min=0)]
        found = found.masked_fill(episode.classes.cpu()[..., None] < 0, torch.nan)
        return self.known.prototypes.to(here), found.to(here)


@dataclass(frozen=True, eq=False)
class Changed:
    """Relations changed in a way that must not matter: scale, offset, order of the known classes.

    Args:
        relations: what they are otherwise.
        scale: a positive factor; default 1.
        offset: added to all; default 0.
        order: of the known classes ``[C]``; default as they are.
    """

    relations: Knowledge
    scale: float = 1.0
    offset: float = 0.0
    order: Int64[Tensor, " C"] | None = None

    def given(self, episode: Episode) -> Given:
        """The known classes and the relations, changed."""
        known, rows = self.relations.given(episode)
        order = torch.arange(len(known)) if self.order is None else self.order
        return known[order], (self.scale * rows + self.offset)[..., order]


def looks(
    support: Float[Tensor, "B N K D"], mask: Bool[Tensor, "B N K"] | None, known: Float[Tensor, "C D"]
) -> Float[Tensor, "B N C"]:
    """Cosines of the classes' mean supports to the known classes: relations without other knowledge.

    Args:
        support: in the space of the known classes.
        mask: False if a support is padding; None: none is.
        known: prototypes of length 1.

    >>> looks(torch.tensor([[[[3.0, 4.0]]]]), None, torch.eye(2))
    tensor([[[0.6000, 0.8000]]])
    """
    images = normalize(support)
    if mask is not None:
        images = images.masked_fill(~mask.cpu()[..., None], 0.0)
    return normalize(images.sum(2)) @ known.T


def relate(
    kind: str, data: LabelledSet, known: KnownClasses, seed: int = 0, transform: nn.Module | None = None
) -> Relations | None:
    """Relations of the classes of a data set to known classes. A known class that is scored is left out.

    Args:
        kind: "none"; "taxonomy": by the classes' paths (`fewshot.taxonomy.similarity`); "shuffled": false
            ones, the rows of the taxonomy exchanged among the classes by one seeded derangement; "looks": by
            the episode's own supports.
        data: whose classes are scored.
        known: the known classes, in the space after ``transform``.
        seed: of the shuffling; default 0.
        transform: of features to that space; default none.

    Raises:
        InputError: another kind, no known class that is not scored, or a class without a path.

    >>> data = LabelledSet(torch.zeros(2, 2), torch.arange(2), ("crane", "fox"), paths=("bird/crane", "fox"))
    >>> known = KnownClasses(torch.eye(2), ("heron", "wolf"), (("bird", "heron"), ("wolf",)))
    >>> relate("taxonomy", data, known).rows
    tensor([[0.5000, 0.0000],
            [0.0000, 0.0000]])
    """
    if kind not in KINDS:
        raise InputError(f"relations: expected one of {', '.join(KINDS)}, got {kind!r}")
    if kind == "none":
        return None
    scored = set(data.class_names)
    if not any(name not in scored for name in known.names or ()):
        raise InputError("relations: expected known classes other than those that are scored, got none")
    known = known.without(data.class_names).to("cpu")
    transform = nn.Identity() if transform is None else deepcopy(transform).cpu()
    if kind == "looks":
        return Relations(kind, known, None, known.prototypes @ known.prototypes.T, transform)
    _check_paths("known class", known.names or (), known.paths)
    _check_paths("scored class", data.class_names, data.paths)
    paths = known.paths or ()
    rows = taxonomy.similarity(data.paths or (), paths)
    if kind == "shuffled":
        rows = rows[taxonomy.shuffled(len(rows), seed)]
    return Relations(kind, known, rows, taxonomy.similarity(paths, paths), transform)


def with_paths(
    data: LabelledSet, known: KnownClasses | None, transform: nn.Module | None = None
) -> Relations | None:
    """The relations that `relate` makes of the taxonomy; None if there are none, or none that tells anything.

    Classes that are equally far from all known ones, as letters of another script, have nothing to hear of
    them.

    Args:
        data: whose classes are scored.
        known: the known classes, in the space after ``transform``; None: there are none.
        transform: of features to that space; default none.

    >>> data = LabelledSet(torch.zeros(2, 2), torch.arange(2), ("crane", "fox"), paths=("bird/crane", "fox"))
    >>> with_paths(data, KnownClasses(torch.eye(2), ("heron", "wolf"))) is None
    True
    >>> trees = KnownClasses(torch.eye(2), ("oak", "elm"), (("tree", "oak"), ("tree", "elm")))
    >>> with_paths(data, trees) is None
    True
    """
    if known is None or not (known.paths and all(known.paths) and data.paths and all(data.paths)):
        return None
    if set(known.names or ()) <= set(data.class_names):
        return None
    found = relate("taxonomy", data, known, 0, transform)
    assert found is not None
    assert found.rows is not None
    tells = (found.rows.amax(1) > found.rows.amin(1)).any()
    return found if tells else None


def _check_paths(what: str, names: Sequence[str], paths: Sequence[object] | None) -> None:
    without = [name for name, path in zip(names, paths or [()] * len(names), strict=True) if not path]
    if without:
        raise InputError(
            f"relations: expected a path in a taxonomy for each {what}, got none for "
            f"{without[0]!r} ({len(without)} of {len(names)} have none)"
        )


def made_up_relations(
    features: FeatureSet, transform: nn.Module | None = None, seed: int = 0, size: int = 12
) -> Relations:
    """Made-up known classes that look like mixtures of the classes, for audits.

    Args:
        features: of the classes.
        transform: to the space of the known classes; default none.
        seed: of the mixtures; default 0.
        size: the number C of known classes; default 12.

    >>> features = FeatureSet(torch.eye(3), torch.arange(3), ("ant", "bee", "cat"))
    >>> made_up_relations(features).rows.shape
    torch.Size([3, 12])
    """
    transform = nn.Identity() if transform is None else deepcopy(transform).cpu()
    with torch.no_grad():
        means = KnownClasses.fit(transform(features.items.cpu()), features.labels.cpu()).prototypes
    generator = torch.Generator().manual_seed(seed)
    shares = torch.rand(size, len(means), generator=generator).pow(4)
    known = KnownClasses(shares @ means)
    rows = means @ known.prototypes.T
    return Relations("made up", known, rows, known.prototypes @ known.prototypes.T, transform)
