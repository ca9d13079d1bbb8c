"""Files of `torch.save`: what torch reads is read, and nothing that a file only claims takes memory."""

import struct
import tracemalloc
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fewshot.core.errors import InputError
from fewshot.core.untrusted import program
from fewshot.core.untrusted.tensors import read_tensors

LEGACY_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}."


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.stride() == b.stride() and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def tensors() -> dict[str, Any]:
    torch.manual_seed(0)
    whole = torch.randn(6, 4)
    kinds = (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8)
    return {
        **{str(kind): (whole * 9).to(kind) for kind in (*kinds, torch.uint8, torch.bool)},
        **{
            "turned": whole.T,
            "row": whole[1],
            "part": whole[::2, 1:3],
            "none": whole[:0],
            "one": whole[0, 0],
        },
        "wide": torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last),
        "parameter": nn.Parameter(whole),
    }


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2)).half()


def optimizer() -> dict[str, Any]:
    net = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(net.parameters(), fused=False)
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 4])
    return {
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "random": torch.get_rng_state(),
    }


def with_attribute() -> torch.Tensor:
    tensor = torch.ones(2)
    tensor.origin = "here"  # type: ignore[attr-defined]
    return tensor


CONTENTS = {
    "tensors": tensors(),
    "state dict": network().state_dict(),
    "with attributes": OrderedDict(a=with_attribute()),
    "parameters": OrderedDict(network().named_parameters()),
    "training": {"epoch": 3, "best": 0.5, "model": network().state_dict(), **optimizer()},
    "plain": {"a": [1, 2.5, True, None, "é", b"\xff\0", 2**40, -3], "b": (1, (2,)), "c": torch.Size([1, 2])},
    "counted": {"milestones": Counter([1, 1, 2])},
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", CONTENTS)
def test_what_torch_reads_is_read(name: str, zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save(CONTENTS[name], path, _use_new_zipfile_serialization=zipped)
    assert same(torch.load(path, weights_only=True), read_tensors(path, "tensors", legacy=True))


def test_tensors_of_one_storage_still_share_it(tmp_path: Path) -> None:
    row = torch.zeros(4)
    torch.save([row, row[1:3]], tmp_path / "x.pt")
    whole, part = read_tensors(tmp_path / "x.pt", "tensors")
    part.fill_(1)
    assert whole.tolist() == [0, 1, 1, 0]


def test_numbers_in_the_other_order_of_bytes_are_read(tmp_path: Path) -> None:
    torch.save(torch.tensor([1.5, -2.0]), tmp_path / "x.pt")
    members = members_of(tmp_path / "x.pt")
    members["x/byteorder"] = b"big"
    members["x/data/0"] = struct.pack(">2f", 1.5, -2)
    write(tmp_path / "y.pt", {name.replace("x/", "y/"): content for name, content in members.items()})
    assert read_tensors(tmp_path / "y.pt", "tensors").tolist() == [1.5, -2]


def members_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def reason(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_tensors(path, "tensors", legacy=True)
    text = str(caught.value)
    assert "\n" not in text
    return text.removeprefix(f"{path}: expected tensors ")


def forged(path: Path, pickled: bytes, zipped: bool) -> Path:
    if zipped:
        write(
            path,
            {"archive/data.pkl": b"\x80\x02" + pickled, "archive/version": b"3", "archive/data/0": bytes(40)},
        )
    else:
        path.write_bytes(LEGACY_START + b"\x80\x02" + pickled + b"\x80\x02].")
    return path


def text(content: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(content)) + content


def storage(kind: bytes, count: int, key: bytes = b"0") -> bytes:
    number = b"\x8a\x08" + struct.pack("<q", count)
    return b"(" + text(b"storage") + b"ctorch\n" + kind + b"\n" + text(key) + text(b"cpu") + number + b"tQ"


def tensor(count: int, offset: int, size: bytes, stride: bytes) -> bytes:
    start = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage(b"FloatStorage", count)
    return start + b"\x8a\x08" + struct.pack("<q", offset) + size + stride + b"\x89NtR."


HUGE = struct.pack("<q", 3 * 10**9)
FORGED = {
    "bytearray": (b"c__builtin__\nbytearray\n\x8a\x08" + HUGE + b"\x85R.", "it holds __builtin__.bytearray"),
    "sparse": (b"ctorch._utils\n_rebuild_sparse_tensor\n.", "it holds torch._utils._rebuild_sparse_tensor"),
    "float8": (storage(b"Float8_e4m3fnStorage", 1) + b".", "it holds torch.Float8_e4m3fnStorage"),
    "eval": (b"c__builtin__\neval\n" + text(b"1") + b"\x85R.", "it holds __builtin__.eval"),
    "missing": (storage(b"FloatStorage", 2**40) + b".", "it is damaged"),
    "negative": (storage(b"FloatStorage", -1) + b".", "it holds a storage of another kind"),
    "two types": (
        b"(" + storage(b"FloatStorage", 10) + storage(b"IntStorage", 10) + b"t.",
        "it holds a storage of two types or sizes",
    ),
    "beyond": (tensor(10, 1, b"K\x0a\x85", b"K\x01\x85"), "it holds a tensor of shape [10] from 10 numbers"),
    "far": (tensor(10, 0, b"K\x02\x85", b"K\x0a\x85"), "it holds a tensor of shape [2] from 10 numbers"),
    "shared": (tensor(10, 0, b"K\x0b\x85", b"K\x00\x85"), "it holds a tensor of shape [11] from 10 numbers"),
    "backwards": (tensor(10, 9, b"K\x02\x85", b"J\xff\xff\xff\xff\x85"), "it holds a tensor of a size that"),
    "storage": (storage(b"FloatStorage", 10) + b".", "a value of the type Storage"),
}  # fmt: skip


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", FORGED)
def test_what_is_only_claimed_is_refused(name: str, zipped: bool, tmp_path: Path) -> None:
    pickled, expected = FORGED[name]
    path = forged(tmp_path / "x.pt", pickled, zipped)
    tracemalloc.start()
    try:
        found = reason(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**20
    if not (name == "storage" and not zipped):  # whose numbers are missing
        assert found.startswith(f"({expected}")


@pytest.mark.parametrize("zipped", [True, False])
def test_calls_are_paid_for(zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "ROOM", 2**20)
    start = b"c_codecs\nencode\nq\0" + text(b"a" * 10**5) + b"q\1" + text(b"latin1") + b"q\2("
    path = forged(tmp_path / "x.pt", start + b"h\0h\1h\2\x86R" * 2000 + b"t.", zipped)
    tracemalloc.start()
    try:
        assert reason(path) == "(it asks for more memory than a file of its size can need)"
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < program.ROOM + 17 * path.stat().st_size


def test_members_may_not_overlap(tmp_path: Path) -> None:
    members = {"archive/data.pkl": storage(b"FloatStorage", 10) + b".", "archive/data/0": bytes(10**5)}
    write(tmp_path / "x.pt", members)
    content = (tmp_path / "x.pt").read_bytes()
    start = content.index(b"PK\1\2")
    entry = content[content.index(b"PK\1\2", start + 1) : content.index(b"PK\5\6")]
    more = b"".join(entry.replace(b"data/0", b"data/" + str(n).encode()) for n in range(1, 10))
    end = struct.pack(
        "<4s4H2IH", b"PK\5\6", 0, 0, 11, 11, content.index(b"PK\5\6") - start + len(more), start, 0
    )
    (tmp_path / "x.pt").write_bytes(content[: content.index(b"PK\5\6")] + more + end)
    assert reason(tmp_path / "x.pt") == "(its members overlap)"
