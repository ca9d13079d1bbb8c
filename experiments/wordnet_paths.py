"""The ``taxonomy`` of each benchmark in ``datasets/``, from WordNet 3.0 as distributed.

    python experiments/wordnet_paths.py WORDNET [--check]

rewrites them. WORDNET is the folder with ``data.noun``: with Debian's package ``wordnet-base``,
``/usr/share/wordnet``. A path follows the first hypernym of each synset and names each synset by its first
word. An ImageNet identifier is ``n`` and the synset's offset. CIFAR-100's classes are words:
``cifar_synsets.csv``, reviewed by hand, says which synset each one means and why. WordNet has few of CUB's
birds, so that these are grouped by the last word of their names.
"""

import argparse
import csv
import sys
from pathlib import Path

from fewshot.core.files import replacing
from fewshot.data.readers.benchmark import read_benchmark

HERE = Path(__file__).resolve().parent
IMAGENET = ("miniimagenet", "tieredimagenet", "tiny-imagenet-fs")
CIFAR = ("cifar-fs", "fc100")
WORDNET_NOTE = """\
  # WordNet 3.0, the first hypernym of each synset; made by experiments/wordnet_paths.py{how}.
  # WordNet 3.0 Copyright 2006 by Princeton University. All rights reserved. Its licence:
  # https://wordnet.princeton.edu/license-and-commercial-use
"""
NOTES = {
    **dict.fromkeys(IMAGENET, WORDNET_NOTE.format(how="")),
    **dict.fromkeys(
        CIFAR, WORDNET_NOTE.format(how="\n  # with the synsets of experiments/cifar_synsets.csv")
    ),
    "cub": "  # Not WordNet: groups by the last word of each name; made by experiments/wordnet_paths.py.\n",
}

Synsets = dict[str, tuple[str, str | None]]


def read_synsets(file: Path, symbols: tuple[str, ...] = ("@",)) -> Synsets:
    """First word and first hypernym (None at the root) of each synset of ``data.noun``, by offset.

    The format is described in WordNet's manual page wndb(5WN). A hypernym is a pointer with one of the
    ``symbols``, of the first of them that there is.
    """
    synsets: Synsets = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        if line[:1].isdigit():  # the licence at the top is indented
            offset, _, _, words, first, *rest = line.partition("|")[0].split()
            pointers = rest[
                2 * int(words, 16) :
            ]  # groups of symbol, offset, part of speech, source and target
            above = (
                pointers[i + 1]
                for symbol in symbols
                for i in range(0, len(pointers), 4)
                if pointers[i] == symbol
            )
            synsets[offset] = first, next(above, None)
    return synsets


def path_of(wnid: str, synsets: Synsets) -> str:
    """The names from the root to a synset, joined by ``/``."""
    names: list[str] = []
    offset: str | None = wnid.removeprefix("n")
    while offset is not None:
        name, offset = synsets[offset]
        names.insert(0, name)
    if any("/" in name for name in names):
        raise ValueError(f"{wnid}: a name with a slash in {names}")
    return "/".join(names)


def cub_path(bird: str) -> str:
    """Group and kind of one of CUB's birds.

    >>> cub_path("001.Black_footed_Albatross")
    'bird/albatross/black_footed_albatross'
    """
    kind = bird.partition(".")[2].lower()
    return f"bird/{kind.rpartition('_')[2]}/{kind}"


def taxonomies(wordnet: Path) -> dict[str, dict[str, str]]:
    """Each benchmark's classes, in the order of its file, with their paths."""
    synsets = read_synsets(wordnet / "data.noun")
    with (HERE / "cifar_synsets.csv").open(encoding="utf-8") as file:
        meant = {row["class"]: row["wnid"] for row in csv.DictReader(file)}
    classes = {name: read_benchmark(file_of(name)).split_of() for name in NOTES}
    found = {name: {wnid: path_of(wnid, synsets) for wnid in classes[name]} for name in IMAGENET}
    found |= {name: {word: path_of(meant[word], synsets) for word in classes[name]} for name in CIFAR}
    return found | {"cub": {bird: cub_path(bird) for bird in classes["cub"]}}


def file_of(name: str) -> Path:
    """The checkout's file of a benchmark, whichever package is installed."""
    return HERE.parent / "datasets" / f"{name}.yaml"


def with_taxonomy(content: str, note: str, taxonomy: dict[str, str]) -> str:
    """A benchmark's file with this taxonomy at its end, in place of the one that is there."""
    lines = [f"  {name}: {path}\n" for name, path in taxonomy.items()]
    return content.partition("taxonomy:\n")[0] + "taxonomy:\n" + note + "".join(lines)


def main() -> None:
    """Write the taxonomies, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("wordnet", type=Path, help="the folder with data.noun")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 where a file differs"
    )
    arguments = parser.parse_args()
    differ = []
    for name, taxonomy in taxonomies(arguments.wordnet).items():
        file = file_of(name)
        content = file.read_text(encoding="utf-8")
        made = with_taxonomy(content, NOTES[name], taxonomy)
        if arguments.check:
            differ += [name] * (made != content)
        else:
            with replacing(file) as temporary:
                temporary.write_text(made, encoding="utf-8")
    if differ:
        sys.exit(f"not what WordNet gives: {', '.join(differ)}")


if __name__ == "__main__":
    main()
