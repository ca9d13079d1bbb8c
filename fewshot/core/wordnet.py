"""WordNet's nouns: the senses of a word, and the path of each sense from the root.

Fellbaum (ed.), *WordNet: An Electronic Lexical Database*, 1998. The file that comes with the package holds
the nouns of WordNet 3.0; ``experiments/wordnet_names.py`` makes it from the files as distributed, and
``nouns/LICENSE`` next to it is their licence. It is read when it is first needed, in a fifth of a second.
"""

from __future__ import annotations

import gzip
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).parent / "nouns" / "wordnet.txt.gz"
WNID = re.compile(r"n\d{8}")
# Endings of plurals and of their singulars, as in WordNet's manual page morphy(7WN).
ENDINGS = (("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"), ("men", "man"),
           ("ies", "y"), ("s", ""))  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class WordNet:
    """The nouns. A sense (a synset) is a number from 0, in the order of WordNet's offsets.

    Args:
        synsets: per sense its offset, its first hypernym's number (``-`` at the root) and its first word.
        index: per phrase, sorted, the phrase with ``_`` for spaces and its senses, the most frequent first.
        plurals: per irregular plural, sorted, the plural and its singulars.
    """

    synsets: Sequence[str]
    index: Sequence[str]
    plurals: Sequence[str]

    def senses(self, phrase: str) -> tuple[int, ...]:
        """The senses of a phrase in the form of `plain`, the most frequent first; empty if it has none."""
        return tuple(map(int, _entry(self.index, phrase.replace(" ", "_"))))

    def singulars(self, phrase: str) -> Iterator[str]:
        """What the phrase may be the plural of."""
        rest, _, word = phrase.rpartition(" ")
        for singular in _entry(self.plurals, word):
            yield f"{rest} {singular}".strip()
        for ending, singular in ENDINGS:
            if word.endswith(ending) and len(word) > len(ending) + 1 and not word.endswith("ss"):
                yield f"{rest} {word.removesuffix(ending)}{singular}".strip()

    def path(self, sense: int) -> tuple[str, ...]:
        """The names from the root to a sense, by the first hypernym of each."""
        names: list[str] = []
        above = str(sense)
        while above != "-":
            _, above, name = self.synsets[int(above)].split(" ")
            names.insert(0, name)
        return tuple(names)

    def wnid(self, sense: int) -> str:
        """A sense's identifier: ``n`` and its offset."""
        return f"n{self.synsets[sense][:8]}"

    def sense_of(self, wnid: str) -> int | None:
        """The sense with an identifier; None if WordNet has none.

        >>> words = wordnet()
        >>> words.path(words.sense_of("n02012849"))[-3:]
        ('aquatic_bird', 'wading_bird', 'crane')
        """
        offset = wnid.removeprefix("n")
        place = bisect_left(self.synsets, offset)
        there = place < len(self.synsets) and self.synsets[place].startswith(f"{offset} ")
        return place if there and WNID.fullmatch(wnid) else None


@cache
def wordnet() -> WordNet:
    """The nouns that come with the package.

    >>> [wordnet().path(sense)[-1] for sense in wordnet().senses("red panda")]
    ['lesser_panda']
    """
    with gzip.open(FILE, "rt", encoding="utf-8") as file:
        synsets, index, plurals = (part.splitlines() for part in file.read().split("\n\n"))
    return WordNet(synsets, index, plurals)


def path_text(wnid: str) -> str:
    """The path of an identifier's sense, joined by ``/``; empty if WordNet lacks it.

    >>> path_text("n01503061").split("/")[-2:]
    ['vertebrate', 'bird']
    """
    sense = wordnet().sense_of(wnid)
    return "" if sense is None else "/".join(wordnet().path(sense))


def plain(text: str) -> str:
    """A phrase in the form in which it is looked up: lower case, without accents, words apart by spaces.

    >>> plain("Black-footed_Albatross"), plain("Crème brûlée"), plain("bird's_nest")
    ('black footed albatross', 'creme brulee', 'birds nest')
    """
    letters = unicodedata.normalize("NFKD", text.casefold())
    kept = "".join(letter for letter in letters if not unicodedata.combining(letter) and letter not in "'’")
    return " ".join(re.findall(r"[^\W_]+", kept))


def _entry(lines: Sequence[str], key: str) -> list[str]:
    """What a sorted table says of a key."""
    place = bisect_left(lines, key + " ")
    found = lines[place].split(" ") if place < len(lines) else [""]
    return found[1:] if found[0] == key else []
