"""Sources: the layouts that circulate, in folders and archives, and what can be wrong with them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from forms import PAGE, Form, as_folder, as_tar, as_tar_gz, as_zip, picture, refused

from fewshot.core.errors import InputError
from fewshot.data.loading import load
from fewshot.data.packed import Splits


def ravi() -> dict[str, bytes]:
    """Ravi's layout: n1, n2 in train, n3 in val, n4 in test; 2 images each, of 10 times the number."""
    files: dict[str, bytes] = {}
    for split, classes in (("train", "21"), ("val", "3"), ("test", "4")):
        rows = [f"n{c}000{index}.png,n{c}" for c in classes for index in (2, 1)]
        files[f"{split}.csv"] = "\r\n".join(["filename,label", *rows, ""]).encode()
        for row in rows:
            files[f"images/{row.split(',')[0]}"] = picture(10 * int(row[1]) + int(row[5]))
    return files


CLASSES = b"""wnid,name,superclass,split,path
n1,crane,bird,train,entity/animal/bird/crane
n2,boa constrictor,reptile,train,entity/animal/reptile/boa_constrictor
n3,"cup, small",thing,val,entity/thing/cup
n4,crane,thing,test,entity/thing/crane
"""


every_form = pytest.mark.parametrize("form", [as_folder, as_tar, as_tar_gz, as_zip])


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Splits]:
    """Load a source that is made of these files."""

    def load_files(
        files: dict[str, bytes], kind: str = "folder", form: Form = as_folder, **options: int
    ) -> Splits:
        path = form(files, tmp_path / "source")
        return load(f"{kind}:{path}", cache=tmp_path / "cache", progress=False, **options)

    return load_files


@every_form
@pytest.mark.parametrize("below", ["", "mini/"])
def test_ravis_layout_in_every_form(read: Callable[..., Splits], form: Form, below: str) -> None:
    files = {below + name: content for name, content in (ravi() | {"classes.csv": CLASSES}).items()}
    splits = read(files, "miniimagenet", form)
    assert splits.train.class_ids == ("n1", "n2")
    assert splits.train.class_names == ("crane (n1)", "boa constrictor")  # the two cranes are distinguished
    assert splits.test.class_names == ("crane (n4)",)
    assert splits.val.class_names == ("cup, small",)
    assert splits.train.superclasses == ("bird", "reptile")
    assert splits.train.taxonomy == ("entity/animal/bird/crane", "entity/animal/reptile/boa_constrictor")
    assert splits.train.images[:, 0, 0, 0].tolist() == [11, 12, 21, 22]
    assert splits.train.labels.tolist() == [0, 0, 1, 1]


def test_every_form_gives_the_same_pack(tmp_path: Path) -> None:
    hashes = set()
    for form in (as_folder, as_tar, as_tar_gz, as_zip):
        path = form(ravi(), tmp_path / "mini")
        hashes.add(load(f"miniimagenet:{path}", cache=tmp_path / "cache", progress=False).hash)
    assert len(hashes) == 1


def test_without_classes_csv_identifiers_are_names(read: Callable[..., Splits]) -> None:
    splits = read(ravi(), "miniimagenet")
    assert splits.train.class_names == ("n1", "n2")
    assert splits.train.superclasses is None
    assert splits.train.taxonomy is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"val.csv": None}, "found no val.csv"),
        ({"images/n30001.png": None}, r"val\.csv lists n30001\.png, which is not in images/"),
        ({"images/n30001.png": b"broken"}, r"images/n30001\.png: cannot be decoded"),
        ({"images/n30001.png": picture(1)[:45]}, r"images/n30001\.png: cannot be decoded"),
        ({"val.csv": b"filename,label\n"}, r"val\.csv lists no image"),
        ({"val.csv": b"file,class\na,b\n"}, r"val\.csv line 2: expected filename, label"),
        ({"val.csv": b"\xff\xfe\x00"}, r"val\.csv is not a CSV table"),
        (
            {"val.csv": b"filename,label\nn10001.png,n3\n"},
            r"n10001\.png is listed twice \(train\.csv, val\.csv\)",
        ),
        ({"val.csv": b"filename,label\nn30001.png,n1\n"}, r"class n1 is both in train\.csv and in val\.csv"),
        ({"classes.csv": CLASSES + b"n5,owl,bird,test,\n"}, r"class n5 of classes\.csv has no image"),
    ],
)
def test_what_is_wrong_in_ravis_layout_is_named(
    read: Callable[..., Splits], tmp_path: Path, change: dict[str, bytes | None], message: str
) -> None:
    files = {name: content for name, content in (ravi() | change).items() if content is not None}
    with refused(tmp_path, message):
        read(files, "miniimagenet", as_tar)


@every_form
def test_split_folders_in_every_form(read: Callable[..., Splits], form: Form) -> None:
    files = {
        "set/train/cat/1.PNG": picture(1),
        "set/train/cat/2.jpeg": picture(2, kind="JPEG"),
        "set/train/cat/notes.txt": b"not an image",
        "set/train/.hidden/3.png": b"hidden",
        "set/train/cat/._1.PNG": b"hidden",
        "set/val/dog/1.bmp": picture(3, kind="BMP"),
        "set/test/cow/1.gif": picture(4, kind="GIF"),
        "set/test/cow/2.webp": picture(5, kind="WEBP"),
        "set/test/hen/2.TIFF": picture(6, kind="TIFF"),
    }
    splits = read(files, form=form)
    assert [data.class_names for _, data in splits] == [("cat",), ("dog",), ("cow", "hen")]
    assert [data.counts.tolist() for _, data in splits] == [[2], [1], [2, 1]]


def test_a_pool_is_split_by_class_and_seed(read: Callable[..., Splits]) -> None:
    files = {f"class {index:02d}/{n}.png": picture(index) for index in range(25) for n in range(2)}
    splits = read(files)
    names = {split: set(data.class_names) for split, data in splits}
    assert {split: len(classes) for split, classes in names.items()} == {"train": 16, "val": 4, "test": 5}
    assert len(set.union(*names.values())) == 25
    for _, data in splits:  # each class keeps its own images
        assert [int(name[-2:]) for name in data.class_names] == data.images[::2, 0, 0, 0].tolist()
    assert {split: set(data.class_names) for split, data in read(files, seed=0)} == names
    assert {split: set(data.class_names) for split, data in read(files, seed=1)} != names


def test_folders_above_classes_are_their_taxonomy(read: Callable[..., Splits]) -> None:
    files = {f"test/{path}/1.png": picture(1) for path in ("animal/bird/owl", "animal/cat", "thing/cup")}
    splits = read(files)
    assert splits.test.class_names == ("animal/bird/owl", "animal/cat", "thing/cup")
    assert splits.test.superclasses == ("animal/bird", "animal", "thing")
    assert splits.test.taxonomy == splits.test.class_names
    assert (len(splits.train), splits.train.num_classes) == (0, 0)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a/readme.txt": b"text"}, r"expected images \(.*\.png.*\), found none"),
        ({"a/1.png": picture(1), "b/1.txt": b"x"}, "folder b has no image"),
        ({"a/1.png": picture(1), "1.png": picture(1)}, r"1\.png is not in a class's folder"),
        (
            {"a/1.png": picture(1), "b/1.png": picture(1)},
            "at least 3 classes to split into train, val, test, got 2",
        ),
        (
            {"train/a/1.png": picture(1), "test/a/1.png": picture(1)},
            "class a is in more than one of train/, val/",
        ),
    ],
)
def test_what_is_wrong_in_folders_is_named(
    read: Callable[..., Splits], tmp_path: Path, files: dict[str, bytes], message: str
) -> None:
    with refused(tmp_path, message):
        read(files, form=as_zip)


def test_an_empty_folder_is_named(read: Callable[..., Splits], tmp_path: Path) -> None:
    (tmp_path / "source" / "b").mkdir(parents=True)
    with refused(tmp_path, "folder b has no image"):
        read({f"{name}/1.png": picture(1) for name in "acd"})


def test_sizes(read: Callable[..., Splits]) -> None:
    square = {f"test/{name}/1.png": picture(1, 20, 20) for name in "ab"}
    assert read(square).test.size == 20
    assert read(square, size=10).test.size == 10
    assert read(square | {"test/c/1.png": picture(1, 30, 20)}).test.size == 84
    assert read({"test/c/1.png": picture(1, 30, 20)}).test.size == 84


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mnist", "data: expected cifar-fs:PATH, cub:PATH, .*glyphs, .* or packed:PATH, got 'mnist'"),
        ("folder", "data: expected folder:PATH, got 'folder'"),
        ("glyphs:/x", "data: expected glyphs, got 'glyphs:/x'"),
        ("folder:/no/such", "/no/such: no such file or folder"),
        ("packed:/no/such", "/no/such: expected a pack"),
        (f"folder:{__file__}", r"test_folder\.py: expected a folder, a \.tar or a \.zip"),
    ],
)
def test_wrong_specs_are_named(spec: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        load(spec, cache=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", [as_tar, as_tar_gz, as_zip])
def test_half_an_archive_is_named(read: Callable[..., Splits], tmp_path: Path, form: Form) -> None:
    def half(files: dict[str, bytes], path: Path) -> Path:
        whole = form(files, path)
        content = whole.read_bytes()
        whole.write_bytes(content[: len(content) // 2])
        return whole

    with refused(tmp_path, str(tmp_path / "source")):
        read(ravi(), "miniimagenet", half)


@pytest.mark.parametrize("spec", ["folder", "cifar-fs", "cub", "omniglot"])
def test_a_web_page_in_place_of_an_archive_is_named(tmp_path: Path, spec: str) -> None:
    (tmp_path / "set.tar.gz").write_bytes(PAGE)
    with refused(tmp_path, r"set\.tar\.gz: a web page \(HTML\), not the file itself; download it again"):
        load(f"{spec}:{tmp_path / 'set.tar.gz'}", cache=tmp_path / "cache", progress=False)


def test_a_web_page_in_place_of_an_image_is_named(read: Callable[..., Splits], tmp_path: Path) -> None:
    with refused(tmp_path, r"a/1\.png: cannot be decoded \(a web page \(HTML\)"):
        read({"test/a/1.png": PAGE})


def test_wrong_sizes_and_channels_are_named(read: Callable[..., Splits]) -> None:
    with pytest.raises(InputError, match="size: expected from 1 to 1024 pixels, got 0"):
        read(ravi(), "miniimagenet", size=0)
    with pytest.raises(InputError, match="channels: expected 1 or 3, got 2"):
        read(ravi(), "miniimagenet", channels=2)


def test_a_misnamed_split_is_not_taken_for_a_class(tmp_path: Path) -> None:
    for place in ("train/a", "train/b", "valid/a", "valid/b", "test/a", "test/b"):
        (tmp_path / "set" / place).mkdir(parents=True)
        (tmp_path / "set" / place / "0.png").write_bytes(picture(9))
    with pytest.raises(InputError, match=r"expected no folder next to train/, val/, test/, got valid/"):
        load(f"folder:{tmp_path / 'set'}", cache=tmp_path / "cache", progress=False)


@pytest.mark.parametrize("tops", [("train", "val", "test", "extra"), ("Train", "validation", "Test")])
def test_folders_next_to_splits_are_not_classes(tmp_path: Path, tops: tuple[str, ...]) -> None:
    for place in [f"{top}/{name}" for top in tops for name in "ab"] + ["loose"]:
        (tmp_path / "set" / place).mkdir(parents=True)
        (tmp_path / "set" / place / "0.png").write_bytes(picture(9))
    with pytest.raises(InputError, match=r"expected no folder next to train/, val/, test/, got"):
        load(f"folder:{tmp_path / 'set'}")


def test_a_damaged_pack_of_the_cache_says_how_it_is_made_again(tmp_path: Path) -> None:
    for place in ("a", "b", "c"):
        (tmp_path / "set" / place).mkdir(parents=True)
        (tmp_path / "set" / place / "0.png").write_bytes(picture(9))
    spec = f"folder:{tmp_path / 'set'}"
    pack = load(spec, cache=tmp_path / "cache").path
    (pack / "meta.json").write_text("{")
    with pytest.raises(
        InputError, match=rf"truncated .* earlier load of {spec}; delete {pack} and it is made again"
    ):
        load(spec, cache=tmp_path / "cache")
    shutil.rmtree(pack)
    assert load(spec, cache=tmp_path / "cache").path == pack
