"""The built-in letters: readable, distinct, split by script, the same for everyone."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fewshot.data.loading import load
from fewshot.data.packed import Splits
from fewshot.data.readers import glyphs


@pytest.fixture(scope="module")
def letters() -> list[glyphs.Letter]:
    return glyphs.letters()


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return load("glyphs", cache=tmp_path_factory.mktemp("glyphs"), progress=False)


def some(letters: list[glyphs.Letter], every: int = 150) -> list[str]:
    return [key for letter in letters[::every] for key in glyphs.keys(letter)]


def test_form(splits: Splits) -> None:
    for split, data in splits:
        assert tuple(data.images.shape[1:]) == (1, 32, 32), split
        assert (data.counts == glyphs.SAMPLES).all()
    assert splits.train.num_classes > 1500
    assert 50 < splits.val.num_classes < 100
    assert splits.test.num_classes > 400


def test_no_script_and_no_letter_is_in_two_splits(splits: Splits) -> None:
    for attribute in ("superclasses", "class_names", "class_ids", "taxonomy"):
        seen = [set(getattr(data, attribute)) for _, data in splits]
        assert sum(map(len, seen)) == len(set.union(*seen)), attribute
    assert set(splits.train.superclasses or ()) == {"Latin", "Greek", "Cyrillic", "Canadian syllabics"}


def test_names_and_taxonomy(splits: Splits) -> None:
    index = splits.train.class_ids.index("U+0061")
    assert splits.train.class_names[index] == "latin small letter a"
    assert splits.train.taxonomy is not None
    assert splits.train.taxonomy[index] == "Latin/small/latin small letter a"


def test_look_alikes_are_one_class(letters: list[glyphs.Letter]) -> None:
    codes = {chr(letter.code) for letter in letters}
    assert "A" in codes
    assert not codes & set("ΑА")  # Greek and Cyrillic
    assert "Ω" in codes
    assert "Ж" in codes


def test_every_letter_is_white_on_black_and_in_the_middle(splits: Splits) -> None:
    for _, data in splits:
        images = data.images[:, 0].float() / 255
        ink = images.mean((1, 2))
        assert ink.min() > 0.005
        assert ink.max() < 0.6
        border = torch.cat([images[:, [0, -1]].flatten(1), images[:, :, [0, -1]].flatten(1)], 1)
        assert border.mean() < 0.005
        place = torch.arange(32) - 15.5
        across = (images.sum(1) * place).sum(1) / images.sum((1, 2))
        down = (images.sum(2) * place).sum(1) / images.sum((1, 2))
        assert across.mean().abs() < 1.5
        assert down.mean().abs() < 1.5


def test_samples_of_a_letter_differ(splits: Splits) -> None:
    images = splits.val.images.reshape(splits.val.num_classes, glyphs.SAMPLES, -1)
    for letter in images:
        assert len(letter.unique(dim=0)) == glyphs.SAMPLES


def test_a_letter_is_nearer_to_itself_than_to_others(splits: Splits) -> None:
    images = torch.nn.functional.avg_pool2d(splits.test.images.float(), 2).flatten(1)
    images = torch.nn.functional.normalize(images, dim=1).reshape(splits.test.num_classes, glyphs.SAMPLES, -1)
    prototypes = torch.nn.functional.normalize(images[:, :10].mean(1), dim=1)
    found = (images[:, 10:].flatten(0, 1) @ prototypes.T).argmax(1).reshape(-1, 10)
    accuracy = (found == torch.arange(len(found))[:, None]).float().mean()
    chance = 1 / splits.test.num_classes
    assert 15 * chance < accuracy < 0.5  # by raw pixels: above chance, but not by much


def test_the_seed_decides_whatever_the_threads(letters: list[glyphs.Letter]) -> None:
    wanted = some(letters)
    threads = torch.get_num_threads()
    drawn = {}
    for count in (1, 3):
        torch.set_num_threads(count)
        drawn[count] = dict(glyphs.draw(letters, wanted, seed=0))
    torch.set_num_threads(threads)
    assert all(np.array_equal(drawn[1][key], drawn[3][key]) for key in wanted)
    other = dict(glyphs.draw(letters, wanted, seed=1))
    assert not any(np.array_equal(drawn[1][key], other[key]) for key in wanted)


def test_a_sample_does_not_depend_on_what_else_is_drawn(letters: list[glyphs.Letter], splits: Splits) -> None:
    home = {name: (data, index) for _, data in splits for index, name in enumerate(data.class_ids)}
    for key, image in glyphs.draw(letters, some(letters), seed=0):
        name, _, sample = key.partition("/")
        data, index = home[name]
        assert np.array_equal(data.images[index * glyphs.SAMPLES + int(sample), 0].numpy(), image)


def test_other_sizes_and_channels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some_letters = glyphs.letters()[::100]
    monkeypatch.setattr(glyphs, "letters", lambda: some_letters)
    splits = load("glyphs", size=28, channels=3, cache=tmp_path, progress=False)
    assert tuple(splits.train.images.shape[1:]) == (3, 28, 28)
