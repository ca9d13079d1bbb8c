"""Small files in the forms in which data sets are distributed, for the tests of the readers."""

import io
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fewshot.core.errors import InputError
from fewshot.data.packed import Splits
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.graph.class_graph import ClassGraph
from fewshot.model.backbones.conv4 import conv4
from fewshot.model.few_shot import GraphFewShot

Files = dict[str, bytes]
Form = Callable[[Files, Path], Path]
PAGE = b"<!DOCTYPE html>\n<html><head><title>Google Drive - Virus scan warning</title></head></html>"


def picture(value: int, width: int = 8, height: int = 8, kind: str = "PNG", mode: str = "RGB") -> bytes:
    return encoded(np.full((height, width, 3), value, np.uint8), kind, mode)


def encoded(pixels: np.ndarray, kind: str = "PNG", mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, kind)
    return buffer.getvalue()


def as_folder(files: Files, path: Path) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def as_tar(files: Files, path: Path, mode: str = "w", suffix: str = ".tar") -> Path:
    path = path.with_suffix(suffix)
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo("./" + name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def as_tar_gz(files: Files, path: Path) -> Path:
    return as_tar(files, path, "w:gz", ".tar.gz")


def as_zip(files: Files, path: Path) -> Path:
    path = path.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@contextmanager
def refused(tmp_path: Path, message: str) -> Iterator[None]:
    """Expect one line that matches, and nothing in the cache."""
    with pytest.raises(InputError, match=message) as caught:
        yield
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("cache/*"))


def train_a_step(splits: Splits, way: int = 3) -> None:
    """Draw an episode of each split that has classes, and make a training step on the first."""
    model = GraphFewShot(conv4(splits.train.channels, width=4), ClassGraph(), precision="32-true").train()
    for _, data in splits:
        if data.num_classes:
            sampler = EpisodeSampler(data, way=way, shot=1, query=1, batch=2, episodes=2)
            episode = next(iter(sampler))
            assert episode.support is not None
            assert episode.query is not None
            logits = model(episode.support, episode.query).logits
            assert logits.shape == (2, way, way)
            if data is splits.train:
                loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), episode.query_labels.flatten())
                loss.backward()
                first = next(model.backbone.parameters())
                before = first.detach().clone()
                torch.optim.SGD(model.parameters(), lr=0.1).step()
                assert first.isfinite().all()
                assert not torch.equal(first, before)
