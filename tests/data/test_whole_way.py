"""Each reader from end to end: packed, checked, an episode drawn, a training step made."""

import gzip
from dataclasses import replace
from pathlib import Path

import pytest
from forms import as_tar, as_tar_gz, picture, refused, train_a_step
from on_disk import FILES
from test_omniglot import two_of_each  # noqa: F401 (a fixture)
from typed import fails

from fewshot.cli.entry import main
from fewshot.data import loading
from fewshot.data.loading import KINDS, load
from fewshot.data.packed import open_pack


def test_every_reader_is_here() -> None:
    assert FILES.keys() == KINDS.keys() - {"folder", "glyphs"}


@pytest.mark.usefixtures("two_of_each")
@pytest.mark.parametrize("kind", FILES)
def test_packed_checked_trained(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pack"
    assert main(["data", "pack", f"{kind}:{FILES[kind](tmp_path)}", "--out", str(out)]) == 0
    splits = open_pack(out)
    train_a_step(splits)

    read = loading.read_benchmark
    paths = read(kind).taxonomy
    for _, data in splits:
        # The pickles of tieredImageNet have words that are no identifiers.
        known = paths and kind != "tieredimagenet"
        assert data.paths == (tuple(paths[name] for name in data.class_ids) if known else data.taxonomy)

    def as_here(name: str) -> object:
        """The benchmark with the numbers of images in these files; for tieredImageNet also their classes."""
        classes = {split: data.class_ids for split, data in splits}
        expected = read(name).classes if kind != "tieredimagenet" else classes
        images = {split: len(data) for split, data in splits}
        return replace(read(name), classes=expected, images_per_class=None, images=images)

    monkeypatch.setattr(loading, "read_benchmark", as_here)
    assert main(["data", "check", str(out)]) == 0
    assert capsys.readouterr().out.endswith(": as it should be\n")

    monkeypatch.setattr(loading, "read_benchmark", lambda name: replace(as_here(name), images_per_class=99))
    name, count = splits.test.class_ids[-1], int(splits.test.counts[-1])
    fails(capsys, "data", "check", out, printed=f"test: class {name} has {count} images, expected 99\n")


@pytest.mark.parametrize("kind", FILES)
def test_a_compressed_file_that_ends_at_once_is_named(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "set.tar.gz"
    for content in (b"\x1f\x8b\x08\x04", b"\x1f\x8b\x08\x00" + bytes(20), b"BZh9", b"\xfd7zXZ\x00", b""):
        path.write_bytes(content)
        with refused(tmp_path, r"set\.tar\.gz: expected a folder, a \.tar or a \.zip \(is it truncated"):
            load(f"{kind}:{path}", cache=tmp_path / "cache", progress=False)


@pytest.mark.parametrize("form", [as_tar, as_tar_gz])
def test_an_archive_cut_between_two_files_is_named(
    form, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = form({f"test/class {n}/{i}.png": picture(n) for n in range(3) for i in range(2)}, tmp_path / "set")
    compressed = path.suffix == ".gz"
    whole = gzip.decompress(path.read_bytes()) if compressed else path.read_bytes()
    half = whole[:3072]  # three files, of a header and a block each
    path.write_bytes(gzip.compress(half) if compressed else half)
    assert "not a complete .tar file (its end is missing)" in fails(capsys, "data", "info", f"folder:{path}")
