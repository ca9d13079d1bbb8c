"""WordNet's nouns in the file that comes with the package, and the script that makes it."""

import sys
from pathlib import Path

import pytest

from fewshot.core.wordnet import FILE, WordNet, plain, wordnet
from fewshot.data.readers.benchmark import read_benchmark

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "experiments"))
wordnet_names = pytest.importorskip("wordnet_names")

WORDNET = Path("/usr/share/wordnet")  # where Debian's wordnet-base puts it
DATA = """\
  1 This software and database is being provided to you, the LICENSEE, by
  2 Princeton University
00001740 03 n 01 entity 0 001 ~ 00015388 n 0000 | that which is perceived
00015388 03 n 02 animal 0 beast 0 002 #m 00001740 n 0000 @ 00001740 n 0000 | a living organism
02012849 05 n 01 crane 0 001 @ 00015388 n 0000 | a bird
09379705 17 n 01 Stephen_Crane 0 001 @i 00001740 n 0000 | a writer
"""
INDEX = """\
  1 This software
animal n 1 2 @ ~ 1 1 00015388
crane n 2 2 @ ~ 2 1 09379705 02012849
stephen_crane n 1 1 @i 1 0 09379705
"""


def made(folder: Path) -> tuple[WordNet, str]:
    (folder / "data.noun").write_text(DATA)
    (folder / "index.noun").write_text(INDEX)
    (folder / "noun.exc").write_text("brethren brother\nmen_of_war man_of_war\nmice mouse\n")
    content, licence = wordnet_names.made(folder)
    return WordNet(*(part.splitlines() for part in content.split("\n\n"))), licence


def test_the_script_keeps_senses_in_their_order_and_paths_by_the_first_hypernym(tmp_path: Path) -> None:
    words, licence = made(tmp_path)
    assert [words.path(sense)[-1] for sense in words.senses("crane")] == ["Stephen_Crane", "crane"]
    assert words.path(words.senses("crane")[1]) == ("entity", "animal", "crane")
    assert words.path(words.senses("stephen crane")[0]) == ("entity", "Stephen_Crane")  # an instance
    assert words.wnid(words.senses("animal")[0]) == "n00015388"
    assert words.senses("cran") == words.senses("cranes") == ()
    assert list(words.plurals) == ["brethren brother", "mice mouse"]
    assert licence.endswith("the LICENSEE, by\nPrinceton University\n")


def test_the_file_is_small_and_its_licence_is_next_to_it() -> None:
    assert FILE.stat().st_size < 3 * 2**20
    assert "Princeton University" in (FILE.parent / "LICENSE").read_text()


def test_paths_are_those_of_the_benchmarks() -> None:
    words = wordnet()
    for wnid, path in read_benchmark("tieredimagenet").taxonomy.items():
        sense = words.sense_of(wnid)
        assert "/".join(words.path(sense)) == path
        assert words.wnid(sense) == wnid


@pytest.mark.parametrize("wnid", ["n00000000", "n99999999", "02012849", "n0201284", ""])
def test_identifiers_that_wordnet_lacks(wnid: str) -> None:
    assert wordnet().sense_of(wnid) is None


@pytest.mark.parametrize(
    ("plural", "singular"),
    [("geese", "goose"), ("foxes", "fox"), ("churches", "church"), ("cherries", "cherry"),
     ("oak trees", "oak tree"), ("firemen", "fireman"), ("cars", "car")],
)  # fmt: skip
def test_singulars(plural: str, singular: str) -> None:
    assert singular in list(wordnet().singulars(plural))


def test_a_word_in_ss_is_no_plural() -> None:
    assert list(wordnet().singulars("glass")) == []


def test_plain_text_is_what_the_index_has() -> None:
    keys = [line.partition(" ")[0].replace("_", " ") for line in wordnet().index]
    assert all(plain(key) == key for key in keys)
    assert list(wordnet().index) == sorted(wordnet().index)


@pytest.mark.skipif(not (WORDNET / "data.noun").exists(), reason="Debian's wordnet-base is not installed")
def test_the_file_is_what_the_script_makes() -> None:
    content, licence = wordnet_names.made(WORDNET)
    words = wordnet()
    parts = (words.synsets, words.index, words.plurals)
    assert content == "\n\n".join("\n".join(part) for part in parts)
    assert licence == (FILE.parent / "LICENSE").read_text()
