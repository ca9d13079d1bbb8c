"""Whatever is done to a valid file of any format, reading it ends with a value or with one line."""

import pickle
import random
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import FORMATS, damaged

from fewshot.core.errors import InputError
from fewshot.core.untrusted.pickles import unpickle

MOST = 2**30
quick = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def read(name: str, path: Path) -> str:
    """Read a file; the one line with which that fails, or nothing."""
    try:
        FORMATS[name].read(path)
    except InputError as error:
        return str(error)
    except ValueError as error:  # the class graph's own
        if not str(error).startswith("folder: expected"):
            raise
        return str(error)
    return ""


@pytest.mark.parametrize("name", FORMATS)
def test_a_valid_file_is_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(FORMATS[name].make())
    FORMATS[name].read(path)


@pytest.mark.parametrize("name", FORMATS)
@quick
@given(seed=st.integers(0, 2**32))
def test_a_damaged_file_ends_with_a_value_or_one_line(name: str, tmp_path: Path, seed: int) -> None:
    path = tmp_path / name
    path.write_bytes(damaged(FORMATS[name].make(), random.Random(seed)))
    tracemalloc.start()
    try:
        line = read(name, path)
        assert "\n" not in line
        assert len(line) < 5000
        assert tracemalloc.get_traced_memory()[1] < MOST
    finally:
        tracemalloc.stop()


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


@quick
@given(value=plain, protocol=st.integers(0, 5))
def test_plain_values_are_read_as_pickle_itself_reads_them(value: object, protocol: int) -> None:
    assert unpickle(pickle.dumps(value, protocol), "x.pkl") == value


@quick
@given(content=st.binary(max_size=200))
def test_any_bytes_are_a_pickle_of_plain_values_or_refused(content: bytes) -> None:
    with suppress(InputError):
        unpickle(content, "x.pkl")
