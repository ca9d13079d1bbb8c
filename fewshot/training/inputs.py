"""What a backbone is trained on: augmented images, of which each process has its own part."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from fewshot.core.transfer import send
from fewshot.data.augment import Augment
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.precision import layout
from fewshot.training.processes import Workers


def augmented(
    model: GraphFewShot,
    augment: Augment,
    images: Tensor,
    seed: int,
    rows: Int64[Tensor, " n"],
    total: int,
) -> Float[Tensor, "n c h w"]:
    """The backbone's input for uint8 images, augmented, on the model's device.

    Args:
        model: its preprocessing comes first.
        augment: random changes of the images.
        images: uint8 ``[n, C, H, W]``.
        seed: of the changes.
        rows, total: the places of the images in a batch of ``total``, in which they would be changed alike.
    """
    x = model.preprocess(send(images, model.device))
    x = augment(x, torch.Generator().manual_seed(seed), rows, total)
    return x.contiguous(memory_format=layout(x.device))


def own_rows(blocks: list[tuple[int, int]], workers: Workers) -> Int64[Tensor, " own"]:
    """The places of a process's images in the whole batch.

    Args:
        blocks: (episodes, images per episode) of each run of images in the whole batch.
        workers: of each block, the r-th process has every world-th episode from the r-th on.

    >>> own_rows([(2, 3), (2, 1)], Workers(rank=1, world=2)).tolist()
    [3, 4, 5, 7]
    """
    numbers = torch.arange(sum(episodes * each for episodes, each in blocks))
    parts = numbers.split([episodes * each for episodes, each in blocks])
    own = [p.view(block)[workers.rank :: workers.world] for p, block in zip(parts, blocks, strict=True)]
    return torch.cat([p.flatten() for p in own])
