"""Pickles from strangers: arrays and plain values are read, anything else is refused and not called."""

import pickle
import struct
import tracemalloc
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from fewshot.core.errors import InputError
from fewshot.data.readers.unpickle import unpickle

PLAIN = {
    "pixels": np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
    "column": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "scalar": np.int64(7),
    "names": ["é", b"\xff\x00", None, True, 2**70, 1.5, (1, 2)],
    "ordered": OrderedDict(a=1),
    "objects": np.array([[1, 2], "x"], dtype=object),
}


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_are_read(protocol: int) -> None:
    found = unpickle(pickle.dumps(PLAIN, protocol), "plain.pkl")
    assert found.keys() == PLAIN.keys()
    for name in ("pixels", "column", "objects"):
        assert np.array_equal(found[name], PLAIN[name])
        assert found[name].dtype == PLAIN[name].dtype
    assert all(found[name] == PLAIN[name] for name in ("scalar", "names", "ordered"))


def python_2(values: list[int]) -> bytes:
    """``{'data': array}`` as Python 2 and numpy 1 wrote it, protocol 2: the bytes are a str."""
    raw = bytes(values)
    return (
        b"\x80\x02}U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K" + bytes([len(raw)]) + b"\x85cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U"
        + bytes([len(raw)]) + raw + b"tbs."
    )  # fmt: skip


def test_pickles_of_python_2_are_read_as_latin_1() -> None:
    found = unpickle(python_2([0, 127, 128, 255]), "old.pkl")
    assert found["data"].dtype == np.uint8
    assert found["data"].tolist() == [0, 127, 128, 255]


class Touch:
    """An object whose pickle runs code."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return open, (str(self.path), "w")


class Computed:
    def __reduce__(self) -> tuple:
        return eval, ("1 + 1",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_would_run_code_is_refused_by_name(tmp_path: Path, protocol: int) -> None:
    content = pickle.dumps({"data": Touch(tmp_path / "touched")}, protocol)
    with pytest.raises(InputError, match=r"x\.pkl: refused: the pickle asks for \w+\.open; only numpy"):
        unpickle(content, "x.pkl")
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Computed()),
        b"cos\nsystem\n(S'true'\ntR.",
        b"\x80\x04\x8c\x15numpy.core.multiarray\x94\x8c\x11ndarray.__class__\x94\x93.",
        b"cnumpy.core.multiarray\nndarray\n.",
        b"cnumpy\nload\n(S'x'\ntR.",
        pickle.dumps(np.zeros(2), 2).replace(b"latin1", b"rot_13"),
        pickle.dumps(np.array([Computed()], dtype=object)),
        pickle.dumps(Path("x")),
    ],
)
def test_other_ways_in_are_refused(content: bytes) -> None:
    with pytest.raises(InputError, match=r"x\.pkl: refused: the pickle asks for ") as caught:
        unpickle(content, "x.pkl")
    assert "\n" not in str(caught.value)


class Says:
    """What pickles as any call, with any state."""

    def __init__(self, *call) -> None:
        self.call = call

    def __reduce__(self) -> tuple:
        what, arguments, *state = self.call
        return what, arguments, *state


RECONSTRUCT = np.empty(0).__reduce__()[0]
FROM_BUFFER = np.empty(0).__reduce_ex__(5)[0]
SCALAR = np.float64(0).__reduce__()[0]
HIDDEN = (3, "|", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 1, 0)  # a type of bytes with an object in it


@pytest.mark.parametrize(
    ("forged", "reason"),
    [
        (Says(np.ndarray, ((1,), "O", b"A" * 8)), "a call of numpy.ndarray"),
        (Says(np.ndarray, ((500_000_000,), "O")), "a call of numpy.ndarray"),
        (Says(OrderedDict, (Says(np.ndarray, ((1, 2), "O", b"A" * 16)),)), "a call of numpy.ndarray"),
        (Says(OrderedDict, (5,)), "an OrderedDict of something that is not pairs"),
        (Says(np.dtype, ("V8",), HIDDEN), "arrays of the type 'V8'"),
        (Says(np.dtype, ("u8",), HIDDEN), "a type of arrays with the state"),
        (Says(np.dtype, ([("a", "O")],)), "arrays of the type "),
        (Says(np.dtype, ("U0",)), "arrays of the type 'U0'"),
        (Says(FROM_BUFFER, (b"A" * 8, np.dtype("O"), (1,), "C")), "an array of 1 objects"),
        (Says(FROM_BUFFER, (b"A" * 8, np.dtype("u8"), (2,), "C")), "an array of 2 x 8 bytes from 8"),
        (Says(FROM_BUFFER, (b"A" * 8, np.dtype("u8"), (-1,), "C")), "an array of the shape"),
        (Says(FROM_BUFFER, (b"A" * 8, np.dtype("U2"), (1,), "C")), "text with letters that do not exist"),
        (Says(SCALAR, (np.dtype("O"), b"A" * 8)), "a number that is an object"),
        (
            Says(RECONSTRUCT, (np.ndarray, (0,), b"b"), (1, (1,), np.dtype("O"), False, b"A" * 8)),
            "an array of 1 objects from another number",
        ),
        (
            Says(RECONSTRUCT, (np.ndarray, (0,), b"b"), (1, (1 << 40,), np.dtype("u1"), False, b"A" * 8)),
            "an array of 1099511627776 x 1 bytes from 8",
        ),
        (np.array(["2026-11-26"], "M8[D]"), "arrays of the type 'M8'"),
        ({1.5: "a float as a key"}, r"a dict with the key 1\.5"),
        ({2**61 - 1: "its hash is that of 0"}, "a dict with the key 2305843009213693951"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 5])
def test_no_array_is_made_of_other_bytes_than_its_own(forged: object, reason: str, protocol: int) -> None:
    with pytest.raises(InputError, match=r"x\.pkl: refused: the pickle asks for " + reason):
        unpickle(pickle.dumps({"data": forged}, protocol), "x.pkl")


def test_axes_in_any_order_and_truth_values_are_read() -> None:
    turned = np.arange(24).reshape(2, 3, 4).transpose(1, 2, 0)
    found = unpickle(pickle.dumps({"turned": turned, "yes": np.array([True, False])}, 5), "x.pkl")
    assert np.array_equal(found["turned"], turned)
    assert found["yes"].tolist() == [True, False]


@pytest.mark.parametrize(
    "content",
    [
        b"Nr" + struct.pack("<I", 1 << 28) + b".",  # a place in the memo
        b"Np268435456\n.",
        b"B" + struct.pack("<I", 1 << 31) + b".",  # bytes that are not there
        b"\x8e" + struct.pack("<Q", 1 << 40) + b".",
        b"\x8b" + struct.pack("<i", -1) + b".",
    ],
)
def test_small_pickles_take_little_memory(content: bytes) -> None:
    tracemalloc.start()
    try:
        unpickle(content, "x.pkl")
    except InputError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize("content", [b"(" * 2000, b"]" * 2000, b"N" + b"\x94" * 2000, b"N" + b"\x85" * 2000])
def test_what_costs_a_byte_and_takes_many_is_counted(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fewshot.core.untrusted.program.ROOM", 2**16)
    with pytest.raises(InputError, match="more memory than a file of its size can need"):
        unpickle(content, "x.pkl")


SMALL_ROOM = 2**20
MANY = 10**4  # bytes, or items
TEXT = b"X" + struct.pack("<I", MANY) + b"a" * MANY
BYTES = b"B" + struct.pack("<I", MANY) + b"a" * MANY
PAIRS = b"(" + b"".join(b"J" + struct.pack("<i", key) + b"N\x86" for key in range(MANY // 10)) + b"l"
SAME_PAIR = b"(K\0N\x86q\5" + b"h\5" * (MANY // 10) + b"l"


def frombuffer(kind: bytes, content: bytes) -> tuple[bytes, bytes]:
    """The start of a program, and an instruction that makes an array of the same content again."""
    start = b"cnumpy.core.numeric\n_frombuffer\nq\0cnumpy\ndtype\nX\2\0\0\0" + kind + b"K\0K\1\x87Rq\1"
    size = b"J" + struct.pack("<i", MANY) + b"q\3X\1\0\0\0Cq\4"
    return start + content + b"q\2" + size, b"h\0(h\2h\1h\3h\4tR"


@pytest.mark.parametrize(
    ("start", "again"),
    [
        (b"c_codecs\nencode\nq\0" + TEXT + b"q\1X\6\0\0\0latin1q\2", b"h\0h\1h\2\x86R"),
        (
            b"cnumpy.core.multiarray\nscalar\nq\0cnumpy\ndtype\nX\6\0\0\0S10000K\0K\1\x87Rq\1"
            + BYTES
            + b"q\2",
            b"h\0h\1h\2\x86R",
        ),
        frombuffer(b"u1", TEXT),
        frombuffer(b"b1", BYTES),
        frombuffer(b"O8", b"(" + b"N" * MANY + b"l"),
        (b"ccollections\nOrderedDict\nq\0" + PAIRS + b"q\1", b"h\0h\1\x85R"),
        (b"ccollections\nOrderedDict\nq\0" + SAME_PAIR + b"q\1", b"h\0h\1\x85R"),  # takes time alone
        (b"cnumpy.core.multiarray\n_reconstruct\nq\0(" + b"N" * MANY + b"tq\1", b"h\0h\1R"),
    ],
    ids=["encode", "scalar", "text", "truth", "objects", "dict", "pairs", "arguments"],
)
def test_calls_with_the_same_large_arguments_are_paid_for(
    start: bytes, again: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"\x80\x02" + start + b"(" + again * 1000 + b"t."
    room = SMALL_ROOM + 100 * MANY  # what the arguments themselves may take
    monkeypatch.setattr("fewshot.core.untrusted.program.ROOM", room)
    tracemalloc.start()
    try:
        with pytest.raises(
            InputError, match=r"x\.pkl: refused: it asks for more memory than a file of its size"
        ):
            unpickle(content, "x.pkl")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < room + 16 * len(content)


def test_an_array_is_filled_once_wherever_it_is_kept() -> None:
    array = np.arange(3)
    found = unpickle(pickle.dumps([array, array], 2), "x.pkl")
    assert found[0] is found[1]
    assert found[0].tolist() == [0, 1, 2]


def test_an_incomplete_pickle_is_named() -> None:
    whole = pickle.dumps(PLAIN)
    for content in (b"", b"not a pickle", whole[:-1], whole[: len(whole) // 2], b"\x80\x02K\x05Q."):
        with pytest.raises(InputError, match=r"x\.pkl: not a complete pickle") as caught:
            unpickle(content, "x.pkl")
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"x\.pkl: a web page \(HTML\), not the file itself"):
        unpickle(b"\n<!DOCTYPE html>\n<html><title>Google Drive - Quota exceeded</title>", "x.pkl")
