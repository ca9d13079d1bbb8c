"""Pickles from strangers: arrays and plain values are read, anything else is refused and not called."""

import pickle
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


def test_an_incomplete_pickle_is_named() -> None:
    whole = pickle.dumps(PLAIN)
    for content in (b"", b"not a pickle", whole[:-1], whole[: len(whole) // 2], b"\x80\x02K\x05Q."):
        with pytest.raises(InputError, match=r"x\.pkl: not a complete pickle") as caught:
            unpickle(content, "x.pkl")
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"x\.pkl: a web page \(HTML\), not the file itself"):
        unpickle(b"\n<!DOCTYPE html>\n<html><title>Google Drive - Quota exceeded</title>", "x.pkl")
