"""Valid files of every format that strangers hand over, how each is read, and how to damage one.

Used by the tests, and at length by ``make fuzz``.
"""

from __future__ import annotations

import io
import json
import pickle
import random
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image

from fewshot import backbones
from fewshot.core.results_file import read_results
from fewshot.core.untrusted.pickles import unpickle
from fewshot.data.class_table import read_class_table
from fewshot.data.labelled import FeatureSet
from fewshot.data.packed import META_FILE, Splits, open_pack, write_meta
from fewshot.data.readers.benchmark import read_benchmark
from fewshot.data.readers.folder import folder
from fewshot.data.readers.images import decode
from fewshot.graph.class_graph import ClassGraph
from fewshot.model.backbones.weights import load_weights
from fewshot.model.checkpoint import FORMAT
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.preprocess import Preprocess
from fewshot.training import config as configs

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
WORDS = (
    b"nan",
    b"inf",
    b"-1",
    b"1e999",
    b"999999999999",
    b"null",
    b"true",
    b"{}",
    b"[",
    b'"',
    b"\0",
    b"\xff",
    b"*a",
)


@dataclass(frozen=True)
class Format:
    """A kind of file: its name, a valid one, and what reads it."""

    name: str
    make: Callable[[], bytes]
    read: Callable[[Path], object]


def damaged(content: bytes, choose: random.Random) -> bytes:
    """The content with one to four changes."""
    for _ in range(choose.randint(1, 4)):
        content = choose.choice(CHANGES)(content, choose)
    return content


def _place(content: bytes, choose: random.Random) -> int:
    return choose.randrange(len(content) + 1)


def _flip(content: bytes, choose: random.Random) -> bytes:
    if not content:
        return content
    at = choose.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << choose.randrange(8)]) + content[at + 1 :]


def _cut(content: bytes, choose: random.Random) -> bytes:
    return content[: _place(content, choose)]


def _remove(content: bytes, choose: random.Random) -> bytes:
    first, last = sorted((_place(content, choose), _place(content, choose)))
    return content[:first] + content[last:]


def _repeat(content: bytes, choose: random.Random) -> bytes:
    at = _place(content, choose)
    part = content[at : at + choose.randint(1, 40)]
    return content[:at] + part * choose.choice((2, 10, 1000)) + content[at:]


def _number(content: bytes, choose: random.Random) -> bytes:
    at, size = _place(content, choose), choose.choice((1, 2, 4, 8))
    value = choose.choice(NUMBERS) % 256**size
    return content[:at] + value.to_bytes(size, choose.choice(("little", "big"))) + content[at + size :]


def _word(content: bytes, choose: random.Random) -> bytes:
    at, word = _place(content, choose), choose.choice(WORDS)
    return content[:at] + word + content[at + choose.choice((0, len(word))) :]


def _swap(content: bytes, choose: random.Random) -> bytes:
    a, b, c = sorted(_place(content, choose) for _ in range(3))
    return content[:a] + content[b:c] + content[a:b] + content[c:]


CHANGES = (_flip, _flip, _cut, _remove, _repeat, _number, _number, _word, _swap)


def _picture(kind: str, mode: str = "RGB") -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((20, 20), 50).convert(mode).save(stream, kind)
    return stream.getvalue()


def _pickle() -> bytes:
    content = {"data": np.zeros((2, 12), np.uint8), "names": ["a", b"b"], "labels": [0, 1], "n": np.int64(5)}
    return b"".join(pickle.dumps(content, protocol) for protocol in (2, 4, 5)[:1])


def _npz() -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(
        stream, features=np.eye(4, dtype=np.float32), labels=["a", "a", "b", "b"], split=["test"] * 4
    )
    return stream.getvalue()


def _npy() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.ones((2, 3, 4), np.float32))
    return stream.getvalue()


@cache
def _checkpoint() -> bytes:
    torch.manual_seed(0)
    model = GraphFewShot(backbones.conv4(1, 2), ClassGraph(), preprocess=Preprocess(16, 1))
    content = {
        "format": "fewshot",
        "version": FORMAT,
        "backbone": model.backbone.config,
        "graph": model.graph.config,
        "preprocess": model.preprocess.config,
        "mirror": False,
        "precision": "auto",
        "state": model.state_dict(),
        "known": {"prototypes": torch.eye(2), "names": ["a", "b"], "paths": None},
        "extra": {"config": {"data": "glyphs"}},
    }
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def _weights() -> bytes:
    stream = io.BytesIO()
    torch.save(backbones.conv4(1, 2).state_dict(), stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


def _run_checkpoint(path: Path) -> None:
    model = GraphFewShot.load(path)
    with torch.no_grad():
        model.encode(torch.zeros(1, 1, 16, 16, dtype=torch.uint8))


def _meta() -> bytes:
    entry = {"id": "a", "name": "a", "superclass": None, "taxonomy": None, "count": 1}
    splits = {split: {"hash": "", "classes": [entry]} for split in ("train", "val", "test")}
    meta = {"format": 1, "name": "x", "channels": 1, "size": 4, "hash": "", "splits": splits}
    return json.dumps(meta).encode()


def _read_meta(path: Path) -> Splits:
    """A pack with this description, whose checksum is made right: forging it takes no effort."""
    pack = path.parent / "pack"
    pack.mkdir(exist_ok=True)
    np.save(pack / "images.npy", np.zeros((3, 1, 4, 4), np.uint8))
    try:
        write_meta(pack, json.loads(path.read_bytes()))
    except (ValueError, RecursionError):
        (pack / META_FILE).write_bytes(path.read_bytes())
    return open_pack(pack)


def _zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for name in ("a/1.png", "b/1.png", "c/1.png"):
            file.writestr(name, _picture("PNG", "L"))
    return stream.getvalue()


def _tar(mode: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as file:
        for name in ("a/1.png", "b/1.png", "c/1.png"):
            content, member = _picture("PNG", "L"), tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def _read_folder(path: Path) -> None:
    source = folder(path)
    keys = [key for classes in source.splits.values() for entry in classes for key in entry.images]
    for key, content in source.read(keys):
        decode(content, key, 3, 16)


def _graph() -> bytes:
    from safetensors.torch import save

    return save(ClassGraph().state_dict())


def _read_graph(path: Path) -> ClassGraph:
    ClassGraph().save_pretrained(path.parent / "graph")
    (path.parent / "graph" / "model.safetensors").write_bytes(path.read_bytes())
    return ClassGraph.from_pretrained(path.parent / "graph")


def _results() -> bytes:
    row = {"method": "a", "mode": "joint", "way": 5, "shot": 1, "accuracy": 1.0, "ci95": 1.0, "ece": 0.1}
    return json.dumps([row | {"episodes": 5, "fingerprint": "ab"}]).encode()


def _read_picture(path: Path) -> np.ndarray:
    return decode(path.read_bytes(), str(path), 3, 16)


def _config() -> bytes:
    return yaml.safe_dump(configs.to_dict(configs.Config(meta=configs.Meta()))).encode()


BENCHMARK = (
    b"images_per_class: 2\nclasses: {train: ['a{1..3}'], val: [b], test: [c]}\nchecksums: {f: 'md5:0'}\n"
)

FORMATS = {
    entry.name: entry
    for entry in (
        Format("pickle.pkl", _pickle, lambda path: unpickle(path.read_bytes(), str(path))),
        Format("features.npz", _npz, FeatureSet.from_npz),
        Format("features.npy", _npy, FeatureSet.from_npy),
        Format("checkpoint.pt", _checkpoint, _run_checkpoint),
        Format("weights.pth", _weights, lambda path: load_weights(backbones.conv4(1, 2), path)),
        Format("model.safetensors", _graph, _read_graph),
        Format("meta.json", _meta, _read_meta),
        Format("results.json", _results, read_results),
        Format("config.yaml", _config, configs.read),
        Format("benchmark.yaml", lambda: BENCHMARK, read_benchmark),
        Format("classes.csv", lambda: b"class,path,share\nheron,animal/bird/heron,0.2\n", read_class_table),
        Format("images.zip", _zip, _read_folder),
        Format("images.tar", lambda: _tar("w"), _read_folder),
        Format("images.tar.gz", lambda: _tar("w:gz"), _read_folder),
        *(
            Format(f"image.{kind.lower()}", partial(_picture, kind), _read_picture)
            for kind in ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
        ),
    )
}  # fmt: skip
