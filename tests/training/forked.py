"""Processes as torchrun starts them, but copies of this one, which has imported everything."""

import os
import socket
import time
from collections.abc import Callable

import pytest
import torch


def together(world: int, work: Callable[[], object], seconds: float = 120) -> None:
    """Do some work in each of some processes, connected over gloo on the CPU.

    Args:
        world: how many.
        work: what each does; it fails if it raises an exception.
        seconds: after which processes that still wait for each other are ended.
    """
    if torch.cuda.is_available():
        pytest.skip("a process that may have used a GPU cannot be copied")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = torch.multiprocessing.start_processes(
        _process, (world, port, work), world, join=False, start_method="fork"
    )
    end = time.monotonic() + seconds
    while not started.join(timeout=1):
        if time.monotonic() > end:
            for process in started.processes:
                process.kill()
            raise TimeoutError(f"{world} processes did not end")


def _process(rank: int, world: int, port: int, work: Callable[[], object]) -> None:
    local = {"LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(world), "CUDA_VISIBLE_DEVICES": ""}
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test"}
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), **local, **address}
    torch.set_num_threads(1)
    work()
