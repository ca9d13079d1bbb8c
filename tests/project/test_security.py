"""Loading a file from a stranger runs no code from it, as SECURITY.md promises."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import fewshot
from fewshot.data.labelled import FeatureSet
from fewshot.data.readers.unpickle import unpickle


class Trap:
    """Makes a file when it is unpickled as usual."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


@pytest.fixture
def trap(tmp_path: Path) -> Trap:
    trap = Trap(tmp_path / "sprung")
    pickle.loads(pickle.dumps(trap))
    assert trap.file.exists()  # it works
    trap.file.unlink()
    return trap


def test_pickle(trap: Trap) -> None:
    with pytest.raises(fewshot.InputError, match="refused: the pickle asks for"):
        unpickle(pickle.dumps({"images": trap}), "images.pkl")
    assert not trap.file.exists()


def test_checkpoint(trap: Trap, tmp_path: Path) -> None:
    torch.save({"format": "fewshot", "version": 2, "state": trap}, tmp_path / "checkpoint.pt")
    with pytest.raises(fewshot.InputError, match="expected a checkpoint of fewshot"):
        fewshot.GraphFewShot.load(tmp_path / "checkpoint.pt")
    assert not trap.file.exists()


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_arrays(trap: Trap, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"features{suffix}"
    array = np.array([trap], dtype=object)
    if suffix == ".npz":
        np.savez(path, features=array)
    else:
        np.save(path, array)
    with pytest.raises(fewshot.InputError, match="expected an"):
        FeatureSet.from_npz(path) if suffix == ".npz" else FeatureSet.from_npy(path)
    assert not trap.file.exists()


def test_an_archive_writes_nothing_outside_the_cache(tmp_path: Path) -> None:
    names = [
        "../escaped.png",
        *(f"{split}/{split}-a/{i}.png" for split in ("train", "val", "test") for i in range(3)),
    ]
    Image.new("L", (8, 8)).save(tmp_path / "x.png")
    with zipfile.ZipFile(tmp_path / "letters.zip", "w") as file:
        for name in names:
            file.write(tmp_path / "x.png", name)
    fewshot.load(f"folder:{tmp_path / 'letters.zip'}")
    assert {path.name for path in tmp_path.iterdir()} == {"x.png", "letters.zip"}
    assert not (tmp_path.parent / "escaped.png").exists()
