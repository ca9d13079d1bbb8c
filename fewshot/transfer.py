"""Tensors on their way to a GPU, without the host waiting for them."""

from dataclasses import replace

import torch
from torch import Tensor

from fewshot.data.packed import PackedDataset


def send(x: Tensor, device: str | torch.device) -> Tensor:
    """The tensor on a device; what goes to a GPU goes from pinned memory, so that nothing waits for the copy.

    >>> send(torch.ones(2), "cpu")
    tensor([1., 1.])
    """
    if torch.device(device).type != "cuda" or x.device.type != "cpu":
        return x.to(device)
    return x.pin_memory().to(device, non_blocking=True)


def resident(data: PackedDataset, device: torch.device) -> PackedDataset:
    """The set with its images on a GPU, where they take at most half of the memory that is free there."""
    if device.type != "cuda" or 2 * data.items.nbytes > torch.cuda.mem_get_info(device)[0]:
        return data
    return replace(data, items=data.items.to(device), path=None)
