"""What the names of classes mean: from folder names to senses of WordNet's nouns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from fewshot.core.taxonomy import Path, similarity
from fewshot.core.wordnet import WNID, plain, wordnet

Looks = Callable[[Sequence[Path], Sequence[int]], Float[Tensor, " S"]]
LONGEST, WORDS = 10, 100  # words of a phrase of WordNet, and of a name, that are considered
MOST = 12  # senses of a name that are considered
# What a sense's rank among the senses of its name counts, its nearness to the nearest known classes, to the
# other classes, and what the supports look like; the first three chosen on the names of CIFAR-100 and of
# ImageNet's classes (experiments/names.py), the third higher than random sets of these ask for, since classes
# that are to be told apart are more alike.
RANK, KNOWN, CONTEXT, LOOKS = 0.25, 4.0, 4.0, 0.5
NEAREST = 5  # known classes
# What comes after one of these words says more of the word before it ("cat with a hat", "house by night").
BETWEEN = frozenset({
    "about", "above", "across", "after", "against", "and", "around", "at", "before", "behind", "below",
    "beside", "between", "by", "during", "for", "from", "in", "inside", "into", "near", "of", "off",
    "on", "onto", "over", "per", "through", "to", "under", "up", "with", "without",
})  # fmt: skip
EMPTY = BETWEEN | {"a", "an", "the", "no", "not", "other"}  # words that are no names, though WordNet has some


@dataclass(frozen=True)
class Found:
    """What WordNet has of a class's name.

    Args:
        phrase: the words that were found, in the singular if that was needed; empty: nothing.
        senses: of the phrase, the most frequent first.
        guess: whether the phrase is only a part of the name.
    """

    phrase: str = ""
    senses: tuple[int, ...] = ()
    guess: bool = False


@dataclass(frozen=True)
class Meaning:
    """What a class was taken for.

    Args:
        path: the names from the root to it; empty: its name was not found.
        wnid: its identifier in WordNet; empty if it is not WordNet's.
        phrase: the words of the name that were found.
        guess: whether they are only a part of the name, so that the path is that of a more general class.
        senses: how many senses they have.
    """

    path: Path = ()
    wnid: str = ""
    phrase: str = ""
    guess: bool = False
    senses: int = 0


def look_up(name: str) -> Found:
    """The senses that a class's name may have.

    A WordNet identifier is its own sense. The whole name is looked up first, then the name without numbers,
    then its longest part that WordNet has, from the right; what follows "with", "of" or the like comes last.

    Args:
        name: words apart by spaces, underscores, hyphens or capitals, in any case, singular or plural.

    >>> look_up("great_blue_herons").phrase, look_up("red apple").phrase, look_up("qwrt").senses
    ('great blue heron', 'apple', ())
    """
    words = wordnet()
    if WNID.fullmatch(name) and (sense := words.sense_of(name)) is not None:
        return Found(words.path(sense)[-1].replace("_", " "), (sense,))
    for whole in dict.fromkeys(_wholes(name)):
        if found := _entry(whole):
            return found
    tokens = [word for word in plain(_apart(name)).split() if not word.isdigit()][:WORDS]
    cut = next((place for place, word in enumerate(tokens) if place and word in BETWEEN), len(tokens))
    for part in (tokens[:cut], tokens[cut + 1 :]):
        for phrase in _parts(part):
            if phrase not in EMPTY and (found := _entry(phrase)):
                return Found(found.phrase, found.senses, guess=True)
    return Found()


def choose(found: Sequence[Found], known: Sequence[Path] = (), looks: Looks | None = None) -> list[Meaning]:
    """The sense of each class's name: the one nearest to the other classes and to what the class looks like.

    Args:
        found: per class, as `look_up` gives it.
        known: paths of known classes, which the classes are likely to be near to; default none.
        looks: how well S paths fit what the classes of S given numbers look like; default None: not known.
    """
    words = wordnet()
    owners = [i for i, entry in enumerate(found) for _ in entry.senses[:MOST]]
    senses = [sense for entry in found for sense in entry.senses[:MOST]]
    paths = [words.path(sense) for sense in senses]
    owner = torch.tensor(owners, dtype=torch.int64)
    ranks = torch.tensor([rank for entry in found for rank in range(1, 1 + len(entry.senses[:MOST]))])
    score = -RANK * ranks.float().log()
    if known and paths:
        near = similarity(paths, known)
        score += KNOWN * near.topk(min(NEAREST, len(known))).values.mean(1)
    if looks is not None and paths:
        score += LOOKS * looks(paths, owners)
    taken = _settled(score, owner, similarity(paths, paths)) if paths else {}
    none = Meaning()
    return [
        Meaning(paths[taken[i]], words.wnid(senses[taken[i]]), entry.phrase, entry.guess, len(entry.senses))
        if i in taken
        else none
        for i, entry in enumerate(found)
    ]


def is_wordnet(paths: Sequence[Sequence[str]] | None) -> bool:
    """Whether paths are those of WordNet's nouns, by the first of them.

    >>> owls = [wordnet().path(sense) for sense in wordnet().senses("owl")]
    >>> is_wordnet(owls), is_wordnet([("bird", "owl")])
    (True, False)
    """
    some = [tuple(path) for path in paths or () if path][:8]
    return bool(some) and all(
        path in [wordnet().path(sense) for sense in wordnet().senses(plain(path[-1]))] for path in some
    )


def _settled(
    score: Float[Tensor, " S"], owner: Tensor, alike: Float[Tensor, "S S"], sweeps: int = 4
) -> dict[int, int]:
    """Per class the sense whose own score and nearness to the other classes' senses are highest together."""
    of_class = {i: (owner == i).nonzero()[:, 0] for i in sorted(set(owner.tolist()))}
    taken = {i: int(own[score[own].argmax()]) for i, own in of_class.items()}
    for _ in range(sweeps):
        before = dict(taken)
        for i, own in of_class.items():
            others = [sense for j, sense in taken.items() if j != i]
            near = alike[own][:, others].mean(1) if others else 0.0
            taken[i] = int(own[(score[own] + CONTEXT * near).argmax()])
        if taken == before:
            break
    return taken


def _wholes(name: str) -> Iterator[str]:
    """The whole name, as it is, with capitals taken for spaces, and without numbers."""
    for text in (name, _apart(name)):
        yield plain(text)
        yield " ".join(word for word in plain(text).split() if not word.isdigit())


def _apart(name: str) -> str:
    """Words apart by capitals, apart by spaces."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)


def _parts(words: Sequence[str]) -> Iterator[str]:
    """The parts of a phrase that WordNet may have, the longest first, those of one length from the right."""
    for length in range(min(len(words), LONGEST), 0, -1):
        for start in range(len(words) - length, -1, -1):
            yield " ".join(words[start : start + length])


def _entry(phrase: str) -> Found | None:
    """A phrase's senses; those of its singular come after its own. A single letter has none."""
    words = wordnet()
    forms = [form for form in (phrase, *words.singulars(phrase)) if len(form) > 1 and words.senses(form)]
    senses = dict.fromkeys(sense for form in forms for sense in words.senses(form))
    return Found(forms[0], tuple(senses)) if forms else None
