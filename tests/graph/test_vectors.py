"""Masked softmax against its closed form, and work in pieces."""

import subprocess
import sys

import pytest
import torch
from clusters import random

from fewshot.graph.vectors import joined, masked_softmax

B, N, K, D = 2, 3, 4, 6


@pytest.mark.parametrize("n", [1, 5, 16, 17])
def test_masked_softmax_is_that_of_what_is_there(n: int) -> None:
    scores, mask = random(B, 7, n), random(B, 1, n, seed=1) > -0.5
    mask[..., 0] = True
    exact = scores.masked_fill(~mask, -torch.inf).softmax(-1)
    torch.testing.assert_close(masked_softmax(scores, mask), exact)
    torch.testing.assert_close(masked_softmax(scores[0, 0], mask[0, 0]), exact[0, 0])


def test_pieces_are_joined_with_and_without_a_gradient():
    x = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(joined((part * 2 for part in x.split(2)), 7), 2 * x)
    assert torch.equal(joined([x], 7), x)
    leaf = x.clone().requires_grad_()
    joined((part * 2 for part in leaf.split(3)), 7).sum().backward()
    assert torch.equal(leaf.grad, torch.full_like(x, 2.0))


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of the memory as Linux counts it")
def test_what_is_left_of_pieces_takes_only_its_own_memory():
    """Of 1.28 million edges of 128 numbers: the temporaries of all pieces would take 640 MB together."""
    code = """
import resource, torch
from fewshot.graph.conv import edge_cosines
x = torch.zeros(20_000, 128)
edges = torch.randint(20_000, (2, 1_280_000), generator=torch.Generator().manual_seed(0))
edge_cosines(x, edges[:, :9000])  # the allocator has seen blocks of this size
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
edge_cosines(x, edges)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100_000  # KiB
