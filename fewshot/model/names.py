"""Relations from the names of classes: what each means in WordNet, and how near that is to known classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from fewshot.core.class_names import Found, Looks, Meaning, choose, is_wordnet, look_up
from fewshot.core.errors import InputError
from fewshot.core.taxonomy import as_path, similarity
from fewshot.core.wordnet import WNID, plain, wordnet
from fewshot.data.class_table import ClassRow
from fewshot.data.readers.benchmark import read_benchmark
from fewshot.graph.known_classes import KnownClasses
from fewshot.graph.message_weight import affinity, relative

SHARPNESS = 10.0  # of the edges along which a sense is compared with what a class looks like
USUAL = "tieredimagenet"  # the benchmark near whose classes others are expected
GUESSED = 0.5  # what relations by a part of a name count, next to those by the whole name


def meanings(
    names: Sequence[str],
    known: KnownClasses | None = None,
    prototypes: Float[Tensor, "N D"] | None = None,
    table: Mapping[str, ClassRow] | None = None,
) -> dict[str, Meaning]:
    """What each class is taken for, by its name.

    Args:
        names: of the N classes' folders.
        known: known classes with WordNet's paths, near which the classes are expected; default None: the
            classes of *tiered*ImageNet. With other known classes nothing is found by names, only by paths of
            the table.
        prototypes: of the N classes, in the space of the known ones' prototypes; a row of NaN: no images.
            Default None: not known.
        table: what is known of classes by other means (``names.csv``): of ``path``, ``wnid`` and ``name`` the
            first that there is takes the place of the folder's name. Default None.

    Raises:
        InputError: a wnid that WordNet lacks.

    >>> meanings(["crane", "heron", "gull"])["crane"].path[-2:]
    ('wading_bird', 'crane')
    >>> meanings(["crane", "forklift", "bulldozer"])["crane"].path[-2:]
    ('lifting_device', 'crane')
    """
    rows = {name: (table or {}).get(name, ClassRow()) for name in names}
    found = [Found()] * len(names)
    if known is None or is_wordnet(known.paths):
        found = [_found(name, rows[name]) for name in names]
    if known is None:
        near = [as_path(path) for path in read_benchmark(USUAL).taxonomy.values()]
    else:
        near = [tuple(path) for path in known.paths or ()]
    looks = None
    if known is not None and prototypes is not None:
        looks = _looks(prototypes, known)
    chosen = dict(zip(names, choose(found, near, looks), strict=True))
    given = {name: as_path(row.path) for name, row in rows.items() if row.path}
    return chosen | {name: Meaning(path, phrase=path[-1]) for name, path in given.items() if path}


def relations_of(found: Sequence[Meaning], known: KnownClasses) -> Float[Tensor, "N C"]:
    """Similarities of N classes to C known ones, NaN throughout the rows of those whose name was not found.

    The rows of guesses are drawn to their mean, so that these classes hear less.

    Args:
        found: the N classes' meanings.
        known: the known classes, with paths.

    Raises:
        InputError: known classes without paths.
    """
    if known.paths is None:
        raise InputError("known: expected known classes with paths, got some without")
    rows = similarity([meaning.path for meaning in found], known.paths)
    guesses = torch.tensor([meaning.guess for meaning in found], dtype=torch.bool)
    mean = rows.mean(1, keepdim=True)
    return torch.where(guesses[:, None], mean + GUESSED * (rows - mean), rows)


def remarks(found: Mapping[str, Meaning], most: int = 8) -> list[str]:
    """Lines on names that were not found, were found in part, or have several senses.

    Args:
        found: what each class was taken for.
        most: how many names a line has at most.

    >>> crane = Meaning(("entity", "bird", "crane"), phrase="crane", senses=5)
    >>> remarks({"crane": crane, "zzz": Meaning()})
    ["names: 'zzz' was not found: no relations", "names: senses: 'crane' as bird/crane"]
    """

    def some(parts: Sequence[str]) -> str:
        return ", ".join(parts[:most]) + (f" and {len(parts) - most} more" if len(parts) > most else "")

    missing = [repr(name) for name, meaning in found.items() if not meaning.path]
    guesses = [f"{name!r} as {meaning.phrase}" for name, meaning in found.items() if meaning.guess]
    several = [
        f"{name!r} as {'/'.join(meaning.path[-2:])}"
        for name, meaning in found.items()
        if meaning.senses > 1 and not meaning.guess
    ]
    lines = []
    if missing:
        lines.append(
            f"names: {some(missing)} {'was' if len(missing) == 1 else 'were'} not found: no relations"
        )
    lines += [f"names: guesses: {some(guesses)}"] if guesses else []
    return lines + ([f"names: senses: {some(several)}"] if several else [])


def without(known: KnownClasses, table: Mapping[str, ClassRow]) -> KnownClasses:
    """Known classes except those of a table, found by their path, wnid, or, if there is neither, name.

    Raises:
        InputError: no known class is left.

    >>> known = KnownClasses(torch.eye(2), ("crow", "owl"), (("bird", "crow"), ("bird", "owl")))
    >>> without(known, {"mine": ClassRow(path="bird/owl"), "raven": ClassRow()}).names
    ('crow',)
    """
    words, paths, names = wordnet(), set(), set()
    for name, row in table.items():
        wnid = row.wnid or name
        if row.path:
            paths.add(as_path(row.path))
        elif (sense := words.sense_of(wnid)) is not None:
            paths.add(words.path(sense))
        else:
            names.add(row.name or name)
    own = known.paths or [()] * len(known)
    left = [
        place
        for place, (name, path) in enumerate(zip(known.names or (), own, strict=True))
        if tuple(path) not in paths and name not in names
    ]
    if not left:
        raise InputError("without-known: expected at least one known class to remain, got all of them")
    return known.among(left)


def _found(name: str, row: ClassRow) -> Found:
    if row.path:
        return Found()
    if row.wnid:
        sense = wordnet().sense_of(row.wnid) if WNID.fullmatch(row.wnid) else None
        if sense is None:
            raise InputError(f"wnid: expected a noun of WordNet 3.0 for class {name!r}, got {row.wnid!r:.40}")
        return Found(plain(wordnet().path(sense)[-1]), (sense,))
    return look_up(row.name or name)


def _looks(prototypes: Float[Tensor, "N D"], known: KnownClasses) -> Looks:
    """How well paths agree with what classes look like: by their cosines to the known classes."""
    seen = prototypes.isfinite().all(1)
    units = torch.nn.functional.normalize(prototypes.nan_to_num(0.0), dim=1)
    looks = affinity(relative(units, known.prototypes.to(units))[None])[0] * seen[:, None]  # [N, C]
    assert known.paths is not None
    paths = known.paths

    def agreement(asked: Sequence[tuple[str, ...]], owners: Sequence[int]) -> Float[Tensor, " S"]:
        weight = (SHARPNESS * similarity(asked, paths)).softmax(1)
        return (weight * looks[list(owners)].cpu()).sum(1)

    return agreement
