"""Archives, folders and images that were made to break their reader: one line, little memory, no waiting."""

import io
import os
import struct
import tarfile
import threading
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewshot.core.errors import InputError
from fewshot.core.untrusted import plain
from fewshot.data.readers import archives, images
from fewshot.data.readers.archives import open_archive
from fewshot.data.readers.images import decode


def png(width: int, height: int) -> bytes:
    """A PNG file that says it has so many pixels, and holds none."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    palette = chunk(b"PLTE", bytes(3)) + chunk(b"tRNS", b"\0")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + palette + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits so small that reaching them takes no time."""
    monkeypatch.setattr(plain, "GROWS_TO", 10_000)


def zipped(path: Path, size: int, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("a/bomb.png", bytes(size))
    return path


@pytest.mark.usefixtures("small")
def test_a_small_archive_does_not_grow_into_a_large_one(tmp_path: Path) -> None:
    archive = open_archive(zipped(tmp_path / "x.zip", 10**6))
    with pytest.raises(InputError, match=r"x\.zip: expected at most .* of a compressed file, got"):
        archive.listing()
    with pytest.raises(InputError, match=r"x\.zip: a/bomb\.png: expected at most .* of a compressed file"):
        list(archive.read(["a/bomb.png"]))
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as file:
        for name in ("a/bomb.png", "a/last.png"):
            member = tarfile.TarInfo(name)
            member.size = 10**6
            file.addfile(member, io.BytesIO(bytes(10**6)))
    archive = open_archive(tmp_path / "x.tar.gz")
    with pytest.raises(InputError, match=r"x\.tar\.gz: expected at most .* of a compressed file"):
        archive.listing()
    with pytest.raises(InputError, match=r"a/bomb\.png: expected at most .* of a compressed file"):
        list(archive.read(["a/bomb.png"]))


def test_links_in_a_tar_that_lead_nowhere_are_named(tmp_path: Path) -> None:
    for target in ("a/missing.png", "a/1.png"):
        with tarfile.open(tmp_path / "x.tar", "w") as file:
            member = tarfile.TarInfo("a/1.png")
            member.type, member.linkname = tarfile.LNKTYPE, target
            file.addfile(member)
        with pytest.raises(InputError, match=r"x\.tar: .*a/1\.png"):
            list(open_archive(tmp_path / "x.tar").read(["a/1.png"]))


def test_damaged_zips_are_named(tmp_path: Path) -> None:
    whole = zipped(tmp_path / "x.zip", 1000, zipfile.ZIP_LZMA).read_bytes()
    at = whole.index(b"a/bomb.png") + 16
    (tmp_path / "x.zip").write_bytes(whole[:at] + b"\xff" * 9 + whole[at + 9 :])
    with pytest.raises(InputError, match=r"a/bomb\.png cannot be read"):
        list(open_archive(tmp_path / "x.zip").read(["a/bomb.png"]))
    other = zipped(tmp_path / "y.zip", 10).read_bytes().replace(b"a/bomb.png", b"a/bomb\xff\xff\xff\xff")
    place = other.index(b"PK\1\2") + 8
    (tmp_path / "y.zip").write_bytes(other[:place] + b"\0\x08" + other[place + 2 :])  # says that it is UTF-8
    with pytest.raises(InputError, match=r"y\.zip: not a complete \.zip file"):
        open_archive(tmp_path / "y.zip").listing()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without FIFOs")
def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    os.mkfifo(tmp_path / "a" / "f.png")
    archive = open_archive(tmp_path)
    with pytest.raises(InputError, match=r"f\.png: expected a plain file, got a device, a FIFO or the like"):
        archive.stamp()
    with pytest.raises(InputError, match=r"f\.png: expected a plain file"):
        list(archive.read(["a/f.png"]))
    for device in ("/dev/zero", str(tmp_path / "a" / "f.png")):
        with pytest.raises(InputError, match="expected a plain file"):
            plain.read_plain(device, 10)


def test_links_between_folders_end(tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").touch()
        for link in ("x", "y"):
            (tmp_path / name / link).symlink_to(tmp_path / other, target_is_directory=True)
    files = open_archive(tmp_path).listing().files
    assert set(files) == {f"{a}/{name}" for a in "ab" for name in ("1.png", "x/1.png", "y/1.png")}


def test_links_to_many_folders_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "BEHIND_LINKS", 100)
    for name in "abcdefgh":
        (tmp_path / name).mkdir()
        for other in "abcdefgh":
            (tmp_path / name / other).symlink_to(tmp_path / other, target_is_directory=True)
    with pytest.raises(InputError, match="expected at most 100 folders behind links"):
        open_archive(tmp_path).listing()


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(InputError, match=r"at most 108,000,000 pixels, got 13000x13000"):
        decode(png(13_000, 13_000), "x", 3)


def test_transparency_in_parts_is_the_same_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (37, 23, 4), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    for channels in (1, 3):
        whole = decode(stream.getvalue(), "x", channels)
        monkeypatch.setattr(images, "AT_ONCE", 100)
        assert np.array_equal(decode(stream.getvalue(), "x", channels), whole)
        monkeypatch.undo()


@pytest.mark.parametrize("values", [np.full((4, 4), 70_000, np.int32), np.full((4, 4), 0.5, np.float32)])
def test_values_of_unknown_range_are_refused(values: np.ndarray) -> None:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "TIFF")
    with pytest.raises(InputError, match="expected values of 8 or 16 bits, got 32"):
        decode(stream.getvalue(), "x", 1)


def test_grey_of_16_bits_is_scaled() -> None:
    for kind in ("PNG", "TIFF"):
        stream = io.BytesIO()
        Image.fromarray(np.full((4, 4), 0x8000, np.uint16)).save(stream, kind)
        assert (decode(stream.getvalue(), "x", 1) == 0x80).all()


def test_postscript_is_not_run() -> None:
    page = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    with pytest.raises(InputError, match="not an image"):
        decode(page, "x.png", 3)


def test_large_images_are_decoded_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = images._Budget(100)
    order: list[str] = []
    inside = threading.Event()

    def second() -> None:
        inside.wait()
        with budget.taking(60):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with budget.taking(60), budget.taking(40):
        inside.set()
        order.append("first")
    thread.join()
    with budget.taking(1000):  # alone, whatever its size
        assert order == ["first", "second"]


def damaged_tiff(compression: str) -> bytes:
    """A TIFF whose strip says the right size, and is damaged."""
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "TIFF", compression=compression)
    content = bytearray(stream.getvalue())
    content[200:3000] = bytes(2800)
    return bytes(content)


@pytest.mark.parametrize("compression", ["tiff_deflate", "tiff_lzw"])
def test_a_damaged_strip_is_one_error_and_nothing_on_standard_error(compression: str, capfd) -> None:
    with pytest.raises(InputError, match=r"^bad.tif: cannot be decoded"):
        decode(damaged_tiff(compression), "bad.tif", channels=3)
    assert capfd.readouterr().err == ""
