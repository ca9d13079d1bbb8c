"""Torch's own random numbers, where layers and augmentation take them from."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Random numbers from a seed inside; outside they go on as if nothing had been drawn.

    >>> with seeded(0):
    ...     x = torch.rand(2)
    >>> with seeded(0):
    ...     torch.equal(torch.rand(2), x)
    True
    """
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield
