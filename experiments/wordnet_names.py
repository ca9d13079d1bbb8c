"""The nouns of WordNet 3.0 as one compact file, which comes with the package.

    python experiments/wordnet_names.py WORDNET [--check]

writes ``fewshot/core/nouns/wordnet.txt.gz`` and, next to it, WordNet's licence. WORDNET is the folder with
``data.noun``, ``index.noun`` and ``noun.exc``: with Debian's package ``wordnet-base``,
``/usr/share/wordnet``. `fewshot.core.wordnet` describes the file.
"""

import argparse
import gzip
import sys
from pathlib import Path

from wordnet_paths import read_synsets

from fewshot.core.files import replacing
from fewshot.core.wordnet import FILE, plain

HOME = Path(__file__).resolve().parent.parent / "fewshot" / "core" / "nouns"


def synset_lines(wordnet: Path) -> tuple[list[str], dict[str, int]]:
    """A line per synset, and the synsets' numbers by offset; an instance is below what it is one of."""
    synsets = read_synsets(wordnet / "data.noun", ("@", "@i"))
    number = {offset: place for place, offset in enumerate(sorted(synsets))}
    lines = []
    for offset in number:
        name, above = synsets[offset]
        lines.append(f"{offset} {'-' if above is None else number[above]} {name}")
    return lines, number


def index_lines(wordnet: Path, number: dict[str, int]) -> list[str]:
    """A line per phrase: what is written in several ways is one, the senses of the plainest way first."""
    senses: dict[str, dict[int, None]] = {}
    entries = [
        line.split()
        for line in (wordnet / "index.noun").read_text(encoding="utf-8").splitlines()
        if not line.startswith(" ")  # the licence at the top
    ]
    for lemma, _, count, pointers, *rest in sorted(entries, key=lambda entry: (len(entry[0]), entry[0])):
        offsets = rest[int(pointers) + 2 :]  # after two numbers: of senses, and of those in tagged texts
        assert len(offsets) == int(count)
        if key := plain(lemma):
            senses.setdefault(key, {}).update(dict.fromkeys(number[offset] for offset in offsets))
    return sorted(f"{key.replace(' ', '_')} {' '.join(map(str, found))}" for key, found in senses.items())


def plural_lines(wordnet: Path) -> list[str]:
    """A line per irregular plural of one word."""
    lines = (wordnet / "noun.exc").read_text(encoding="utf-8").splitlines()
    forms = (list(map(plain, line.split())) for line in lines)
    return sorted({" ".join(form) for form in forms if not any(" " in word for word in form)})


def licence(wordnet: Path) -> str:
    """The licence at the top of ``data.noun``, without its line numbers."""
    lines = (wordnet / "data.noun").read_text(encoding="utf-8").splitlines()
    rows = (line.lstrip().partition(" ")[2].rstrip() for line in lines if line.startswith("  "))
    return "\n".join(rows) + "\n"


def made(wordnet: Path) -> tuple[str, str]:
    """The content of the file, and of the licence."""
    synsets, number = synset_lines(wordnet)
    parts = (synsets, index_lines(wordnet, number), plural_lines(wordnet))
    return "\n\n".join("\n".join(part) for part in parts), licence(wordnet)


def main() -> None:
    """Write the file, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("wordnet", type=Path, help="the folder with data.noun, index.noun and noun.exc")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if it differs")
    arguments = parser.parse_args()
    content, terms = made(arguments.wordnet)
    if arguments.check:
        there = gzip.decompress((HOME / FILE.name).read_bytes()).decode(), (HOME / "LICENSE").read_text()
        sys.exit(None if there == (content, terms) else "not what WordNet gives")
    with replacing(HOME / FILE.name) as file:
        file.write_bytes(gzip.compress(content.encode(), 9, mtime=0))
    with replacing(HOME / "LICENSE") as file:
        file.write_text(terms, encoding="utf-8")


if __name__ == "__main__":
    main()
