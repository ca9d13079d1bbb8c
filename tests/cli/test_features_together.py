"""`fewshot features` by several processes: the file that one process writes."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from forked import together
from PIL import Image

from fewshot import ClassGraph, GraphFewShot, backbones
from fewshot.cli.entry import main
from fewshot.model.preprocess import Preprocess

OWN = """
import os

def broken(images):
    if os.environ.get("RANK") == "1":
        raise ValueError("a bad image")
    return images.flatten(2).mean(2)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Photographs and a checkpoint; a block has 16 images of 64×64 pixels per thread."""
    folder, rng = tmp_path_factory.mktemp("together"), np.random.default_rng(0)
    for split, count in (("train", 15), ("val", 2), ("test", 9)):
        for name in "abc":
            home = folder / "photos" / split / f"{split} {name}"
            home.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(256, size=(64, 64, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(home / f"{number}.png")
    torch.manual_seed(0)
    model = GraphFewShot(
        backbones.conv4(width=8), ClassGraph(), preprocess=Preprocess(64, 3), precision="32-true"
    )
    model.eval().save(folder / "checkpoint.pt")
    (folder / "mine.py").write_text(OWN)
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("FEWSHOT_CACHE", str(folder / "cache"))
        torch.set_num_threads(1)
        yield folder
        torch.set_num_threads(threads)


def features(source: str, out: str) -> int:
    return main(["features", source, "--data", "folder:photos", "--out", out])


def left_over(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("world", [2, 3])
def test_processes_write_what_one_writes(folder: Path, world: int, capfd) -> None:
    assert features("checkpoint.pt", "one.npz") == 0
    capfd.readouterr()

    def work() -> None:
        assert features("checkpoint.pt", "together.npz") == 0

    together(world, work)
    shown = capfd.readouterr()
    assert shown.out == "together.npz\n"
    assert shown.err.count(f"train: encoding 45 images with {world} processes\n") == 1
    one, merged = np.load("one.npz"), np.load("together.npz")
    assert list(merged) == list(one)
    for key in one:
        assert merged[key].dtype == one[key].dtype
        np.testing.assert_array_equal(merged[key], one[key])
    assert not left_over(folder)


def test_what_fails_in_one_process_ends_all(folder: Path, capfd) -> None:
    def work() -> None:
        assert features("mine.py:broken", "bad.npz") == 2
        out = ["--data", "folder:photos", "--out", "bad.npz"]
        assert main(["features", "checkpoint.pt", *out, "--devices", "7"]) == 2

    together(2, work)
    lines = capfd.readouterr().err
    assert lines.count("fewshot features: error: source: mine.py:broken failed: ValueError: a bad image") == 2
    assert lines.count("devices: expected auto or 2 (torchrun's processes), got 7") == 2
    assert not os.path.exists("bad.npz")
    assert not left_over(folder)
