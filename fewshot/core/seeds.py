"""Random numbers that depend on a seed alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

import torch


def seed(run: int, *stream: str | int) -> int:
    """The seed of a named stream of random numbers; streams of other names or runs are unrelated.

    The same in every process and on every platform.

    Args:
        run: the seed of the run.
        stream: the stream's name and numbers, such as ``"pretrain", "augment", 3`` for step 3.

    Returns:
        64 bits, of which torch's generator on the CPU uses the lower 32.

    >>> seed(0, "pretrain", "augment", 3)
    16160594235142860827
    >>> seed(0, "pretrain", "augment", 4)
    12605715645560636608
    """
    digest = sha256(repr((run, *stream)).encode()).digest()
    return int.from_bytes(digest[:8], "little")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's own generator, from which layers take their random numbers, seeded inside; untouched outside.

    >>> with seeded(0):
    ...     x = torch.rand(2)
    >>> with seeded(0):
    ...     torch.equal(torch.rand(2), x)
    True
    """
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield
