"""Pictures of every kind and folders of every size, on the commands for your own images and on the page."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from coloured_pictures import COLOURS, picture
from PIL import Image
from typed import fails

from fewshot.cli.entry import main
from fewshot.data.readers.images import decode
from fewshot.model.image_files import encode_files
from fewshot.model.predict import predict
from fewshot.page.answers import Desk, Options
from fewshot.page.handlers import Handlers, View, Visit
from fewshot.page.render import thumbnail
from fewshot.page.support_folder import SupportFolder

SIDE = 48


def seen() -> Image.Image:
    """What every picture shows: red that grows downwards, blue to the right, a white corner."""
    y, x = np.mgrid[:SIDE, :SIDE] * 5
    pixels = np.stack([y, np.full_like(y, 60), x], -1).astype(np.uint8)
    pixels[: SIDE // 4, : SIDE // 4] = 255
    return Image.fromarray(pixels)


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated clockwise when it is shown
    return written(seen().transpose(Image.Transpose.ROTATE_90), "JPEG", quality=98, exif=exif)


def sixteen_bits() -> bytes:
    grey = np.asarray(seen().convert("L")).astype(np.uint16)
    return written(Image.fromarray(grey * 257), "PNG")


def clear() -> Image.Image:
    """The white corner is transparent, with black below it."""
    pixels = np.dstack([np.asarray(seen()), np.full((SIDE, SIDE), 255, np.uint8)])
    pixels[: SIDE // 4, : SIDE // 4] = 0
    return Image.fromarray(pixels)


def palette() -> bytes:
    image = clear().convert("RGB").quantize(255)
    corner = np.asarray(image).copy()
    corner[: SIDE // 4, : SIDE // 4] = 255
    indexed = Image.fromarray(corner, "P")
    indexed.putpalette(image.getpalette() + [0] * (768 - len(image.getpalette())))
    return written(indexed, "PNG", transparency=255)


def moving(kind: str, **options: object) -> bytes:
    others = [Image.new("RGB", (SIDE, SIDE), colour) for colour in ("black", "green")]
    return written(seen(), kind, save_all=True, append_images=others, duration=40, **options)


def written(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def huge() -> bytes:
    """A PNG of 30,000 × 30,000 pixels, by its header."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


GOOD = {
    "turned.jpg": turned,
    "16-bit.png": sixteen_bits,
    "cmyk.jpg": lambda: written(seen().convert("CMYK"), "JPEG", quality=98),
    "cmyk.tif": lambda: written(seen().convert("CMYK"), "TIFF"),
    "clear.png": lambda: written(clear(), "PNG"),
    "clear.webp": lambda: written(clear(), "WEBP", lossless=True),
    "palette.png": palette,
    "moving.gif": lambda: moving("GIF"),
    "moving.png": lambda: moving("PNG"),
    "moving.webp": lambda: moving("WEBP", lossless=True),
}
BROKEN = {
    "huge.png": (huge, "expected an image of at most 108,000,000 pixels, got more"),
    "empty.png": (lambda: b"", "cannot be decoded (not an image)"),
    "half.jpg": (lambda: turned()[:600], "cannot be decoded"),
}


@pytest.fixture(scope="module")
def checkpoint(small_model, tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("odd") / "checkpoint.pt"
    small_model.save(file)
    return file


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    """The exit status of a command, and what it printed on both streams."""
    status = main([str(argument) for argument in arguments])
    return status, *capsys.readouterr()


def refused(capsys, *arguments: object) -> str:
    """The one line that says why a command did not do its work; lines on names may precede it."""
    error = fails(capsys, *arguments, after="^names: |will be replaced$")
    assert error.startswith(f"fewshot {arguments[0]}: error: ")
    return error


@pytest.mark.parametrize("name", GOOD)
def test_a_picture_is_what_the_eye_sees(small_model, checkpoint, photos, capsys, name) -> None:
    odd, plain = photos / "photos" / "saw" / name, photos / "new" / "plain.png"
    odd.write_bytes(GOOD[name]())
    shown = seen().convert("L") if name.startswith("16") else seen()
    shown.save(plain)
    exact, found = (decode(file.read_bytes(), file.name, 3).astype(int) for file in (plain, odd))
    assert found.shape == exact.shape
    assert abs(found - exact).mean() < 6
    features = encode_files(small_model, [plain, odd])
    assert (features[0] - features[1]).norm() < 0.15 * (features[0] + small_model.base_mean).norm()

    support, new = photos / "photos", photos / "new"
    (new / name).write_bytes(odd.read_bytes())
    status, out, _ = run(capsys, "predict", checkpoint, "--support", support, "--query", new)
    assert status == 0
    assert name in out
    status, out, _ = run(capsys, "suggest", checkpoint, "--support", support, "--pool", new)
    assert status == 0
    assert name in out
    status, out, _ = run(capsys, "names", support, "--model", checkpoint)
    assert status == 0
    assert "saw" in out

    do, visit = Handlers(Desk(small_model, SupportFolder(support))), Visit()
    view = do.attempt(do.take, visit, 1, Options(), [str(new / name)])
    assert isinstance(view, View)
    assert [row.file.name for row in view.visit.answers.rows] == [name]
    assert thumbnail(odd).startswith("<img")
    assert "1 pictures to" in do.attempt(do.give, view.visit, 1, Options(), "gull", [str(new / name)]).said
    assert "iframe" in do.graph(True)


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_picture_is_one_line(small_model, checkpoint, photos, capsys, name) -> None:
    content, reason = BROKEN[name]
    support, new = photos / "photos", photos / "new"
    (new / name).write_bytes(content())
    do, visit = Handlers(Desk(small_model, SupportFolder(support))), Visit()
    view = do.attempt(do.take, visit, 1, Options(), sorted(map(str, new.iterdir())))
    assert f"3 pictures; {name}: " in view.said
    assert reason.rpartition(": ")[2] in view.said
    view = do.attempt(do.give, visit, 1, Options(), "saw", [str(new / name)])
    assert f"0 pictures to &#x27;saw&#x27;; {name}: " in view.said
    assert not (support / "saw" / name).exists()

    given = ["--support", support]
    for command in (
        ["predict", checkpoint, *given, "--query", new],
        ["suggest", checkpoint, *given, "--pool", new],
    ):
        error = refused(capsys, *command)
        assert f"{name}: {reason}" in error

    (support / "saw" / name).write_bytes(content())
    for command in (
        ["predict", checkpoint, *given, "--query", new / "0.png"],
        ["suggest", checkpoint, *given, "--pool", new / "0.png"],
        ["names", support, "--model", checkpoint],
        ["graph", checkpoint, *given, "--out", photos / "graph.html"],
    ):
        error = refused(capsys, *command)
        assert f"{name}: {reason}" in error
    do.desk.folder.changes += 1  # it came by other means
    assert reason in do.attempt(do.look, visit, 1, Options())


@pytest.mark.parametrize(
    "counts", [(1, 1), (1,) * 200, (500, 1, 1)], ids=["2 classes", "200 classes", "500 pictures of one class"]
)
def test_few_and_many(small_model, checkpoint, tmp_path, capsys, counts) -> None:
    some = [picture(tmp_path / "some" / f"{n}.png", colour, n) for n, colour in enumerate(COLOURS.values())]
    support = tmp_path / "photos"
    for number, count in enumerate(counts):
        (support / f"zz{number:03}").mkdir(parents=True)
        for place in range(count):
            content = some[(number + (place == 3)) % 3].read_bytes()
            (support / f"zz{number:03}" / f"{place}.png").write_bytes(content)
    found = predict(small_model, support, some)
    assert all(sum(one.probabilities.values()) == pytest.approx(1) for one in found)
    assert len(found[0].probabilities) == len(counts)
    status, out, _ = run(capsys, "suggest", checkpoint, "--support", support, "--pool", tmp_path / "some")
    assert status == 0
    assert "Images to label next:" in out
    status, out, _ = run(capsys, "names", support)
    assert (status, out.count("not found")) == (0, len(counts))
    do, visit = Handlers(Desk(small_model, SupportFolder(support))), Visit()
    view = do.attempt(do.take, visit, 1, Options(joint=True), some)
    assert [row.name for row in view.visit.answers.rows] == [
        one.name for one in predict(small_model, support, some, mode="joint")
    ]
    assert view.table.count("<b>zz") == min(len(counts), 25)
    assert ("and 494 more" in view.table) == (counts[0] == 500)
    assert isinstance(do.attempt(do.suggest, view.visit, 1, Options()), View)


def test_empty_folders_are_classes_by_their_names(checkpoint, photos, capsys) -> None:
    support, new = photos / "photos", photos / "new"
    (support / "heron").mkdir()
    suggest = ["suggest", checkpoint, "--support", support, "--pool", new]
    graph = ["graph", checkpoint, "--support", support, "--out", photos / "graph.json"]
    assert run(capsys, *suggest)[0] == run(capsys, *graph)[0] == 0
    assert '"heron"' in (photos / "graph.json").read_text()
    for name in COLOURS:  # names alone
        (support / name / "0.png").unlink()
    assert run(capsys, *suggest)[0] == run(capsys, *graph)[0] == 0
    (support / "zzzz").mkdir()
    for command in (suggest, graph, ["predict", checkpoint, "--support", support, "--query", new]):
        error = refused(capsys, *command)
        assert "class 'zzzz' has no image in" in error
        assert "put an image there, or what it is called into names.csv" in error
    (support / "names.csv").write_text("class,name\nzzzz,owl\n")
    assert run(capsys, *suggest)[0] == run(capsys, *graph)[0] == 0
    (support / "names.csv").unlink()
    for more in ([], ["--model", checkpoint]):
        status, out, _ = run(capsys, "names", support, *more)
        assert status == 0
        assert "not found" in next(line for line in out.splitlines() if "zzzz" in line)
        assert "wading_bird/heron" in out
