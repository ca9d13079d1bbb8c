"""The benchmarks' taxonomies, and the script that makes them from WordNet's files."""

import csv
import hashlib
import sys
from pathlib import Path

import pytest

from fewshot.data.readers.benchmark import read_benchmark

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "experiments"))
wordnet_paths = pytest.importorskip("wordnet_paths")

WORDNET = Path("/usr/share/wordnet")  # where Debian's wordnet-base puts it
WITH_PATHS = ("cifar-fs", "cub", "cub-cropped", "fc100", "miniimagenet", "tieredimagenet", "tiny-imagenet-fs")

# In the format of data.noun (wndb(5WN)), cut to what matters: a licence, several words per synset (their
# number in hexadecimal), other pointers before the first hypernym, a second hypernym, instances ("@i").
DATA_NOUN = """\
  1 This software and database is being provided to you, the LICENSEE, by
00001740 03 n 01 entity 0 003 ~ 00001930 n 0000 ~ 00002137 n 0000 ~ 04424418 n 0000 | that which is perceived
00015388 03 n 03 animal 0 beast 0 brute 1 002 @ 00001740 n 0000 ~ 01503061 n 0000 | a living organism
01503061 05 n 01 bird 0 003 #m 01503000 n 0000 @ 00015388 n 0000 ~ 02012849 n 0000 | "birds | of prey"
02012849 05 n 0a crane 0 b 0 c 0 d 0 e 0 f 0 g 0 h 0 i 0 j 0 002 @ 01503061 n 0000 @ 00001740 n 0000 | w
09379705 17 n 01 Orange 0 001 @i 00001740 n 0000 | a river
"""


def test_paths_go_up_by_the_first_hypernym(tmp_path: Path) -> None:
    (tmp_path / "data.noun").write_text(DATA_NOUN)
    synsets = wordnet_paths.read_synsets(tmp_path / "data.noun")
    assert wordnet_paths.path_of("n02012849", synsets) == "entity/animal/bird/crane"
    assert wordnet_paths.path_of("n00001740", synsets) == "entity"
    assert synsets["09379705"] == ("Orange", None)
    with pytest.raises(ValueError, match="a name with a slash"):
        wordnet_paths.path_of("n2", {"2": ("on/off_switch", "00001740"), **synsets})


def test_a_taxonomy_takes_the_place_of_the_one_before() -> None:
    once = wordnet_paths.with_taxonomy("name: mine\n", "  # note\n", {"a": "x/a", "b": "x/b"})
    assert once == "name: mine\ntaxonomy:\n  # note\n  a: x/a\n  b: x/b\n"
    assert wordnet_paths.with_taxonomy(once, "  # note\n", {"a": "x/a", "b": "x/b"}) == once


@pytest.mark.parametrize("name", WITH_PATHS)
def test_every_class_has_a_path_of_its_own(name: str) -> None:
    benchmark = read_benchmark(name)
    assert set(benchmark.taxonomy) == set(benchmark.split_of())
    assert len(set(benchmark.taxonomy.values())) == len(benchmark.taxonomy)
    for path in benchmark.taxonomy.values():
        assert all(part and part == part.strip() for part in path.split("/"))
        assert path.split("/")[0] == ("bird" if name.startswith("cub") else "entity")


def test_paths_are_those_of_the_published_tiny_imagenet_fs() -> None:
    """Its archive has them in classes.csv; this is the sha256 of its columns wnid and path."""
    rows = sorted(read_benchmark("tiny-imagenet-fs").taxonomy.items())
    digest = hashlib.sha256("".join(f"{wnid},{path}\n" for wnid, path in rows).encode()).hexdigest()
    assert digest == "32204f15b27194ef706179624f0be5a413da5b740fa0fed727cf016837ad992f"


def test_a_synset_has_one_path_in_all_benchmarks() -> None:
    paths: dict[str, str] = {}
    for name in wordnet_paths.IMAGENET:
        for wnid, path in read_benchmark(name).taxonomy.items():
            assert paths.setdefault(wnid, path) == path
    cifar = read_benchmark("cifar-fs").taxonomy
    assert read_benchmark("fc100").taxonomy == cifar
    with (ROOT / "experiments" / "cifar_synsets.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == sorted(cifar)
    assert all(row["why"] for row in rows)
    shared = [row for row in rows if row["wnid"] in paths]
    assert len(shared) > 10  # such as n07747607, the orange that is a fruit
    assert all(cifar[row["class"]] == paths[row["wnid"]] for row in shared)


@pytest.mark.parametrize(
    ("word", "above"),
    [
        ("ray", "fish"),
        ("seal", "aquatic_mammal"),
        ("can", "container"),
        ("mouse", "rodent"),
        ("orange", "edible_fruit"),
        ("tank", "vehicle"),
        ("plate", "tableware"),
        ("maple_tree", "tree"),
        ("train", "conveyance"),
        ("poppy", "flower"),
    ],
)
def test_ambiguous_words_have_the_sense_of_their_superclass(word: str, above: str) -> None:
    assert above in read_benchmark("cifar-fs").taxonomy[word].split("/")


def test_birds_are_grouped_by_the_last_word() -> None:
    paths = read_benchmark("cub").taxonomy
    assert paths["113.Baird_Sparrow"] == "bird/sparrow/baird_sparrow"
    assert paths["017.Cardinal"] == "bird/cardinal/cardinal"
    groups = {path.split("/")[1] for path in paths.values()}
    assert len(groups) < 80


@pytest.mark.skipif(not (WORDNET / "data.noun").exists(), reason="Debian's wordnet-base is not installed")
def test_the_files_are_what_the_script_makes() -> None:
    for name, taxonomy in wordnet_paths.taxonomies(WORDNET).items():
        content = wordnet_paths.file_of(name).read_text(encoding="utf-8")
        assert wordnet_paths.with_taxonomy(content, wordnet_paths.NOTES[name], taxonomy) == content
