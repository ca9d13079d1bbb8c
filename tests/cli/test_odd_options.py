"""Values that are made to break a parser, full disks, strange surroundings: one line, status 2."""

import struct
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typed import fails

from fewshot.core.errors import InputError
from fewshot.training import run as training

FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="a system without /dev/full")


def into_full(*words, stream):
    """Exit status, and standard error if it is not the full one, of a command with a full disk behind it."""
    with open("/dev/full", "w") as full:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: full}
        done = subprocess.run([sys.executable, "-m", "fewshot", *map(str, words)], **streams, check=False)
    return done.returncode, done.stderr and done.stderr.decode()


@FULL
def test_a_full_disk_behind_standard_output_is_named(letters):
    line = "fewshot: error: standard output: cannot be written (No space left on device)\n"
    assert into_full("names", letters, stream="stdout") == (2, line)


@FULL
@pytest.mark.parametrize("words", [["data", "info", "nothere"], ["nothere"]])
def test_an_error_that_cannot_be_written_is_still_an_error(words):
    assert into_full(*words, stream="stderr") == (2, None)


def test_what_is_no_backend_of_matplotlib_is_not_asked_for(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "foo")
    code = "from fewshot.cli.entry import main; main(['names', 'nothere']); import matplotlib.figure"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)


@pytest.mark.parametrize("devices", ["", "²", "-1"])
@pytest.mark.parametrize("command", [["train", "--config", "glyphs"],
                                     ["features", "CK", "--data", "glyphs", "--out", "f.npz"]])  # fmt: skip
def test_a_number_of_devices_is_a_number(command, devices, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = f"fewshot {command[0]}: error: devices: expected auto or a number from 1 up, got {devices!r}"
    assert fails(capsys, *command, f"--devices={devices}") == line


NINES = ["1,1,1,1,1,1,1,1,1", *(",".join([f"*{name}"] * 9) for name in "abcdefg")]
ALIASES = ",".join(f"&{name} [{nine}]" for name, nine in zip("abcdefgh", NINES, strict=True))
WRONG = [
    "&a [*a]",
    f"[{ALIASES}]",
    "[" * 20_000,
    "1:30",
    "{a: 1, a: 2}",
]


@pytest.mark.parametrize("value", WRONG, ids=["itself", "aliases", "brackets", "base 60", "key twice"])
@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["train", "--config", "glyphs", "--meta.steps"], "meta.steps: expected a whole number, got "),
        (["evaluate", "x", "--way"], "way: expected int, got "),
        (["predict", "x", "--support", "s", "--query", "q", "--sure"], "sure: expected float, got "),
        (["data", "pack", "folder:x", "--out", "o", "--size"], "size: expected int, got "),
    ],
)  # fmt: skip
def test_a_value_is_read_within_limits(command, expected, value, capsys):
    assert f"error: {expected}" in fails(capsys, *command, value)


def test_text_keys_of_a_config_are_text(monkeypatch, tmp_path, capsys):
    seen = {}

    def fake(config, **_):
        seen["config"] = config
        raise InputError("enough")

    monkeypatch.setattr(training, "train", fake)
    fails(capsys, "train", "--config", "glyphs", "--name", "1:30", "--weights", "010")
    assert (seen["config"].name, seen["config"].weights) == ("1:30", "010")
    fails(capsys, "train", "--config", "glyphs", "--weights", "null", "--compile", "true")
    assert (seen["config"].weights, seen["config"].compile) == (None, True)


def test_a_tiff_of_too_many_samples_is_one_line(checkpoint, letters, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.tif")
    content = bytearray((tmp_path / "a.tif").read_bytes())
    first, entry = struct.unpack("<I", content[4:8])[0], struct.pack("<HHI", 277, 3, 1)
    place = content.index(entry, first) + len(entry)  # of SamplesPerPixel
    content[place : place + 2] = struct.pack("<H", 500)
    (tmp_path / "a.tif").write_bytes(content)
    words = ["predict", checkpoint, "--support", letters, "--query", tmp_path / "a.tif"]
    done = subprocess.run(
        [sys.executable, "-m", "fewshot", *words], capture_output=True, text=True, check=False
    )
    line = f"fewshot predict: error: {tmp_path / 'a.tif'}: cannot be decoded (not an image)\n"
    assert (done.returncode, done.stderr) == (2, line)
