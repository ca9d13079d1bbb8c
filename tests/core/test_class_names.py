"""What names of classes are taken for."""

import csv
from pathlib import Path

import pytest

from fewshot.core.class_names import choose, is_wordnet, look_up
from fewshot.core.taxonomy import as_path
from fewshot.data.readers.benchmark import read_benchmark

with (Path(__file__).parent / "class_names.csv").open(encoding="utf-8") as stream:
    NAMES = list(csv.DictReader(stream))
KNOWN = [as_path(path) for path in list(read_benchmark("tieredimagenet").taxonomy.values())[::3]]


@pytest.mark.parametrize("row", NAMES, ids=lambda row: row["name"])
def test_a_hundred_names(row: dict[str, str]) -> None:
    found = look_up(row["name"])
    assert (found.phrase, found.guess) == (row["phrase"], row["guess"] == "yes")
    (meaning,) = choose([found], KNOWN)
    assert row["above"] in meaning.path
    assert meaning.senses == len(found.senses)


def test_there_are_a_hundred() -> None:
    assert len(NAMES) >= 100


@pytest.mark.parametrize("name", ["", "___", "123", "qwrtz", "n00000000", "的", "with of", "../../x", "A"])
def test_names_that_wordnet_lacks(name: str) -> None:
    assert look_up(name).senses == ()
    assert choose([look_up(name)], KNOWN)[0].path == ()


def test_a_name_of_very_many_words() -> None:
    assert look_up("qwrtz " * 30_000).senses == ()
    assert look_up("qwrtz " * 90 + "great blue heron").phrase == "great blue heron"


@pytest.mark.parametrize(
    ("name", "others", "above"),
    [
        ("crane", ["heron", "gull", "stork"], "bird"),
        ("crane", ["tractor", "excavator", "bulldozer"], "lifting_device"),
        ("mouse", ["keyboard", "monitor", "printer"], "device"),
        ("mouse", ["rat", "hamster", "beaver"], "rodent"),
        ("bat", ["fox", "bear", "wolf"], "mammal"),
    ],
)
def test_an_ambiguous_name_takes_the_sense_nearest_to_the_other_classes(
    name: str, others: list[str], above: str
) -> None:
    assert above in choose([look_up(label) for label in (name, *others)], KNOWN)[0].path


def test_an_ambiguous_name_takes_the_sense_that_the_class_looks_like() -> None:
    import torch

    found = look_up("crane")
    for wanted in ("bird", "lifting_device"):
        (meaning,) = choose(
            [found],
            looks=lambda paths, owners, wanted=wanted: torch.tensor([8.0 * (wanted in p) for p in paths]),
        )
        assert wanted in meaning.path


def test_the_order_of_the_classes_does_not_matter() -> None:
    names = ["crane", "mouse", "heron", "seal", "keyboard"]
    forward = choose([look_up(name) for name in names], KNOWN)
    backward = choose([look_up(name) for name in reversed(names)], KNOWN)
    assert forward == backward[::-1]


def test_only_wordnets_paths_are_wordnets() -> None:
    assert is_wordnet(KNOWN)
    assert not is_wordnet([as_path(path) for path in read_benchmark("cub").taxonomy.values()])
    assert not is_wordnet([])
    assert not is_wordnet(None)
