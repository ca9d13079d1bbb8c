"""The processes that train together, and how they share the work."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments import TorchElasticEnvironment
from lightning.fabric.strategies import DDPStrategy
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor

from fewshot.core.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class Workers:
    """The processes that share each batch, in equal parts; by default a single one.

    Args:
        rank: of this process.
        world: the number of processes.
        mean: the mean of a tensor over all processes, with gradient.
        gather: from what this process has to what each of them has, in the order of ranks; plain values and
            tensors.
    """

    rank: int = 0
    world: int = 1
    mean: Callable[[Tensor], Tensor] = lambda x: x
    gather: Callable[[Any], list[Any]] = lambda own: [own]

    def share(self, name: str, batch: int) -> int:
        """The size of this process's part of a batch.

        Args:
            name: of the batch, for the error.
            batch: the size of the whole batch.

        Raises:
            InputError: the processes cannot have equal parts of it.
        """
        if batch % self.world:
            raise InputError(f"{name}: expected a multiple of {self.world} (processes), got {batch}")
        return batch // self.world


ALONE = Workers()


def workers_of(fabric: Fabric) -> Workers:
    """The processes of a fabric."""

    def mean(x: Tensor) -> Tensor:
        every = cast(Tensor, fabric.all_gather(x, sync_grads=True))  # [processes, ...]
        return every.mean(0)

    def gather(own: Any) -> list[Any]:
        return [fabric.broadcast(own, rank) for rank in range(fabric.world_size)]

    alone = fabric.world_size == 1
    return ALONE if alone else Workers(fabric.global_rank, fabric.world_size, mean, gather)


def make_fabric(devices: str | int) -> Fabric:
    """Fabric for a number of this machine's devices, or for the processes that torchrun has started.

    Raises:
        InputError: not a number of devices, or not one that can be had here.
    """
    if devices != "auto" and not (str(devices).isdecimal() and int(devices) > 0):
        raise InputError(f"devices: expected auto or a number from 1 up, got {devices!r}")
    nodes, running, elastic = 1, _running(), TorchElasticEnvironment.detect()
    if elastic:
        here, everywhere = (int(os.environ[key]) for key in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
        if devices not in ("auto", here, str(here)):
            raise InputError(f"devices: expected auto or {here} (torchrun's processes), got {devices}")
        devices, nodes = here, everywhere // here
    elif running:
        if devices not in ("auto", running, str(running)):
            raise InputError(f"devices: expected auto or {running} (running processes), got {devices}")
        devices = running
    several = nodes > 1 or (torch.cuda.device_count() if devices == "auto" else int(devices)) > 1
    # Some losses leave some of the graph's scalars without a gradient, which DDP does not expect by itself.
    strategy = DDPStrategy(find_unused_parameters=True) if several else "auto"
    if several and not (elastic or running or _can_start_again()):
        raise InputError("devices: expected 1, as there is no script to start again for the other processes")
    try:
        # Only the backbone computes in bfloat16; Fabric's own mixed precision would also round its inputs.
        number = "auto" if devices == "auto" else int(devices)
        return Fabric(devices=number, num_nodes=nodes, strategy=strategy, precision="32-true")
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        raise InputError(f"devices: {' '.join(str(error).split())}") from error


def _running() -> int | None:
    """The number of connected processes, this one included; None before they are connected."""
    connected = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if connected else None


def _can_start_again() -> bool:
    """Whether Lightning can run this command again for the other processes: a module or a file."""
    main = sys.modules["__main__"]
    return getattr(main, "__spec__", None) is not None or os.path.isfile(sys.argv[0])


def launch(devices: str | int) -> Fabric:
    """Fabric, with its processes running and connected."""
    fabric = make_fabric(devices)
    fabric.launch()
    # Lightning leaves gloo's threads running, and an interpreter that exits while they run may abort.
    atexit.register(_disconnect)
    return fabric


def _disconnect() -> None:
    if _running():
        torch.distributed.destroy_process_group()


def on_first(fabric: Fabric, work: Callable[[], T]) -> T | None:
    """The result of some work on the first process, None on the others; its InputError is raised on all."""
    result, problem = None, ""
    if fabric.is_global_zero:
        try:
            result = work()
        except InputError as error:
            problem = str(error)
    if problem := fabric.broadcast(problem):
        raise InputError(problem)
    return result
