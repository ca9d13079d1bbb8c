"""Paths of classes: where they come from, and that they change no episode."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from forms import as_folder, as_tar, as_zip, picture, refused
from test_folder import CLASSES, ravi

from fewshot.core.errors import InputError
from fewshot.data.labelled import FeatureSet, LabelledSet
from fewshot.data.loading import info, load
from fewshot.data.packed import PackedDataset, Splits
from fewshot.data.paths import find_paths, paths_of
from fewshot.data.readers.benchmark import read_benchmark
from fewshot.episodes.hard_classes import path_distances, taxonomy_distances
from fewshot.episodes.sampler import EpisodeSampler

CIFAR = read_benchmark("cifar-fs")


def entry(name: str, superclass: str | None = None, taxonomy: str | None = None, **more: str) -> dict:
    return {"id": name, "superclass": superclass, "taxonomy": taxonomy, **more}


@pytest.mark.parametrize(
    "name", ["miniimagenet", "tieredimagenet", "tiny-imagenet-fs", "cub", "cifar-fs", "fc100"]
)
def test_each_split_of_a_benchmark_is_found(name: str) -> None:
    benchmark = read_benchmark(name)
    for classes in benchmark.classes.values():
        assert find_paths(classes) == tuple(benchmark.taxonomy[entry] for entry in classes)


def test_wnids_are_found_one_by_one_and_words_all_or_none() -> None:
    mixed = ("n01532829", "n00000000", "apple")
    found = find_paths(mixed)
    assert found is not None
    assert [bool(path) for path in found] == [True, False, False]
    assert find_paths(("n00000000",)) is None
    assert find_paths(CIFAR.classes["val"]) is not None
    assert find_paths(CIFAR.classes["val"][1:]) is None
    assert find_paths((*CIFAR.classes["val"], "heron")) is None
    assert find_paths(()) is None


def test_what_is_given_goes_before_what_is_found() -> None:
    wnid, path = next(iter(read_benchmark("miniimagenet").taxonomy.items()))
    assert paths_of("mine", [entry(wnid)]) == (path,)
    assert paths_of("mine", [entry(wnid, "bird", "life/bird/finch")]) == ("life/bird/finch",)
    assert paths_of("mine", [entry(wnid, "bird", "life/bird/finch", path="a/b")]) == ("a/b",)
    assert paths_of("mine", [entry("x", path="a/b"), entry("y", "bird", "life/bird/y")]) == ("a/b", "")
    assert paths_of("mine", [entry("x"), entry("y")]) is None
    assert paths_of("mine", []) is None


def test_superclasses_alone_give_way_to_the_benchmarks_paths() -> None:
    """CIFAR's packs have taxonomies of two levels, which say no more than the superclasses."""
    classes = [entry("ray", "fish", "fish/ray"), entry("bee", "insects", "insects/bee")]
    assert paths_of("cifar-fs", classes) == (CIFAR.taxonomy["ray"], CIFAR.taxonomy["bee"])
    assert paths_of("fc100", classes) == paths_of("cifar-fs", classes)
    assert paths_of("mine", classes) == ("fish/ray", "insects/bee")
    stranger = [*classes, entry("heron", "birds", "birds/heron")]
    assert paths_of("cifar-fs", stranger) == ("fish/ray", "insects/bee", "birds/heron")


def test_paths_are_the_taxonomy_unless_given() -> None:
    data = LabelledSet(torch.zeros(2, 1), torch.tensor([0, 1]), ("a", "b"), taxonomy=("x/a", "x/b"))
    assert data.paths == ("x/a", "x/b")
    assert replace(data, paths=("y/a", "")).paths == ("y/a", "")
    assert replace(data, paths=("y/a", "")).taxonomy == ("x/a", "x/b")
    with pytest.raises(InputError, match=r"paths: expected one .*, got 1"):
        replace(data, paths=("y/a",))


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Splits]:
    """Load a source that is made of these files."""

    def load_files(files: dict[str, bytes], kind: str = "folder", form=as_folder) -> Splits:
        return load(f"{kind}:{form(files, tmp_path / 'source')}", cache=tmp_path / "cache", progress=False)

    return load_files


BIRDS = {f"train/{name}/{n}.png": picture(n) for name in ("heron", "owl") for n in (1, 2)} | {
    f"{split}/{split} cat/1.png": picture(3) for split in ("val", "test")
}
TABLE = b"path,class,name\nanimal/bird/heron,heron,Grey heron\nanimal/cat,val cat,\n"


@pytest.mark.parametrize("form", [as_folder, as_tar, as_zip])
@pytest.mark.parametrize("below", ["", "set/"])
def test_a_table_next_to_the_folders_gives_paths_and_names(read, form, below: str) -> None:
    files = {below + name: content for name, content in (BIRDS | {"classes.csv": TABLE}).items()}
    splits = read(files, form=form)
    assert splits.train.class_names == ("Grey heron", "owl")
    assert splits.train.class_ids == ("heron", "owl")
    assert splits.train.paths == ("animal/bird/heron", "")
    assert splits.train.taxonomy is None
    assert splits.val.paths == ("animal/cat",)
    assert splits.test.paths is None
    described = info(splits)["splits"]
    assert [described[split]["paths"] for split in ("train", "val", "test")] == [True, True, False]
    assert not described["train"]["taxonomy"]


def test_without_a_table_the_pack_is_as_it_was(read) -> None:
    splits = read(BIRDS)
    assert splits.train.paths is None
    assert '"path"' not in (splits.path / "meta.json").read_text()


def test_a_tree_gives_taxonomy_and_paths(read) -> None:
    splits = read({f"test/{path}/1.png": picture(1) for path in ("animal/bird/owl", "animal/cat")})
    assert splits.test.paths == splits.test.taxonomy == ("animal/bird/owl", "animal/cat")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"class,path\neagle,a/b\n", r"classes\.csv: line 2: expected one of heron, .*, got class 'eagle'"),
        (b"class,path\nowl,a\nowl,b\n", r"classes\.csv: line 3: a second row for class 'owl'"),
        (b"folder,path\nowl,a\n", r"classes\.csv: line 1: expected a column 'class', got folder, path"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(read, tmp_path: Path, table: bytes, message: str) -> None:
    with refused(tmp_path, message):
        read(BIRDS | {"classes.csv": table})


def test_ravis_layout_has_its_taxonomy_as_paths(read) -> None:
    splits = read(ravi() | {"classes.csv": CLASSES}, "miniimagenet")
    assert splits.train.paths == splits.train.taxonomy is not None
    assert splits.test.paths == ("entity/thing/crane",)


def test_folders_of_wnids_find_their_paths(read) -> None:
    splits = read({f"{s}/{w}/1.png": picture(1) for s, w in (("train", "n01532829"), ("test", "n00000000"))})
    assert splits.train.paths == (read_benchmark("miniimagenet").taxonomy["n01532829"],)
    assert splits.test.paths is None


def numbered(**more: object) -> PackedDataset:
    images = torch.arange(120).remainder(256).to(torch.uint8).reshape(120, 1, 1, 1)
    return PackedDataset(images, torch.arange(120) // 10, tuple("abcdefghijkl"), **more)


PATHS = tuple(f"root/{c % 4}/{c}" for c in range(12))


def test_paths_change_no_episode() -> None:
    items = torch.randn(120, 5, generator=torch.Generator().manual_seed(0))
    cosine = FeatureSet(items, torch.arange(120) // 10, tuple("abcdefghijkl"))
    groups = numbered(superclasses=tuple("xxxxyyyyzzzz"))
    taxonomy = numbered(taxonomy=tuple(f"root/{c // 3}/{c}" for c in range(12)))
    for data in (cosine, groups, taxonomy):
        for classes in ("hard", "uniform"):
            plain, with_paths = (
                EpisodeSampler(d, query=5, episodes=100, classes=classes).fingerprint()
                for d in (data, replace(data, paths=PATHS))
            )
            assert plain == with_paths
    with pytest.raises(InputError, match='classes="hard": expected a taxonomy'):
        EpisodeSampler(numbered(paths=PATHS), query=5, classes="hard")


def test_a_pack_that_gains_paths_keeps_its_hard_episodes(read, tmp_path: Path) -> None:
    """Folders of superclasses, as CIFAR has: near classes are those of one superclass, whatever the paths."""
    files = {f"test/{c // 4}/{c}/{n}.png": picture(n) for c in range(12) for n in range(7)}
    plain = read(files).test
    table = "class,path\n" + "".join(f"{c // 4}/{c},root/{c % 4}/{c}\n" for c in range(12))
    with_paths = read(files | {"classes.csv": table.encode()}).test
    assert with_paths.paths != plain.paths
    assert with_paths.hash == plain.hash
    a, b = (
        EpisodeSampler(data, query=5, episodes=50, classes="hard").fingerprint()
        for data in (plain, with_paths)
    )
    assert a == b


def test_near_classes_by_paths_are_asked_for() -> None:
    data = numbered(paths=PATHS)
    np.testing.assert_array_equal(path_distances(data), taxonomy_distances(PATHS))
    for paths, message in (
        (None, r"got none for a \(12 of 12"),
        (("", *PATHS[1:]), r"got none for a \(1 of 12"),
    ):
        with pytest.raises(InputError, match=rf'classes="hard:taxonomy": expected a path .*{message}'):
            path_distances(numbered(paths=paths))
