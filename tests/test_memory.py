"""Memory is kept as long as somebody uses it so."""

import ctypes
import resource

import pytest
import torch

from fewshot.memory import kept

SIDE = 4096  # a float32 matrix of 64 MiB: 16,384 pages of 4 KiB

GLIBC = hasattr(ctypes.CDLL(None), "mallopt")
pytestmark = pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")


def faults(rows: int = SIDE) -> int:
    """How many pages come from the system for a new matrix."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(rows, SIDE)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_a_matrix_comes_again_without_its_pages() -> None:
    with kept():
        faults(SIDE + 1000)  # older versions of glibc align a block within a somewhat larger one
        with kept():
            assert faults() < 1000
        assert faults() < 1000  # whoever ends first takes nothing from the others


def test_afterwards_memory_goes_back() -> None:
    with kept():
        faults()
    faults()  # what was kept is given back when something is freed
    again = faults()
    if again < 1000:
        pytest.skip("this system gives memory in pages of another size")
    assert again > 10_000
