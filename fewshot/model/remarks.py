"""What a user should hear about images before believing their predictions: unlike those of the training?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fewshot.core.untrusted.plain import LARGEST_IMAGE, read_plain
from fewshot.data.readers.images import decode
from fewshot.graph.vectors import normalize
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.image_files import cache_for, encode_files

LOOKED_AT = 32  # files, at most, evenly spaced
COLOURED = 8.0  # mean difference of an image's channels, of 255, from which it counts as coloured
APART = 0.25  # of mean brightness, from 0 to 1, from which images may be inverted
RANDOM = 1.5  # times the largest cosine of a random direction, below which features resemble no class
UNLIKE = 0.6  # of the supports' cosine, below which queries are unlike the supports


def image_remarks(
    model: GraphFewShot, support: Mapping[str, Sequence[Path]], query: Sequence[Path]
) -> list[str]:
    """Lines about the images, none if nothing is unusual; a few files of each kind are looked at.

    Args:
        model: with its preprocessing and, if it has them, known classes.
        support: the files of each class.
        query: the files to classify.
    """
    shown = _some([file for files in support.values() for file in files])
    asked = _some(query)
    lines = channel_remarks(model.preprocess.channels, _pictures(asked))
    lines += brightness_remarks(_training_mean(model), _pictures(asked))
    if model.known is None or not shown:
        return lines
    with torch.no_grad():
        cache = cache_for(model)
        own, others = (_to_known(model, encode_files(model, files, cache)) for files in (shown, asked))
    known, size = model.known.prototypes.shape
    return lines + likeness_remarks(own, others, known, size)


def channel_remarks(channels: int | None, pictures: Sequence[np.ndarray]) -> list[str]:
    """Whether colour is dropped, or grey images are spread over three channels.

    >>> grey, red = np.zeros((3, 4, 4)), np.stack([np.full((4, 4), 255.0), *np.zeros((2, 4, 4))])
    >>> channel_remarks(1, [grey, red])
    ['1 of 2 images are coloured, and the model takes grey ones: their colour is dropped']
    >>> channel_remarks(3, [grey, grey])
    ['all images are grey, and the model takes coloured ones: it may never have seen grey images']
    """
    coloured = sum(float(np.ptp(picture, axis=0).mean()) > COLOURED for picture in pictures)
    if channels == 1 and coloured:
        return [
            f"{coloured} of {len(pictures)} images are coloured, and the model takes grey ones: "
            "their colour is dropped"
        ]
    if channels == 3 and not coloured and pictures:
        return ["all images are grey, and the model takes coloured ones: it may never have seen grey images"]
    return []


def brightness_remarks(usual: float | None, pictures: Sequence[np.ndarray]) -> list[str]:
    """Whether the images look like the training's with black and white exchanged.

    Args:
        usual: the mean brightness of the training images, from 0 to 1; None: not known.
        pictures: uint8 **[3, H, W]**.

    >>> brightness_remarks(0.1, [np.full((3, 4, 4), 240, np.uint8)])[0][:60]
    'the images look inverted: their mean brightness is 0.94, tha'
    """
    if usual is None or not pictures:
        return []
    mean = float(np.mean([picture.mean() for picture in pictures])) / 255
    if abs(mean - usual) < APART or abs(mean - usual) < 2 * abs(1 - mean - usual):
        return []
    return [
        f"the images look inverted: their mean brightness is {mean:.2f}, that of the training images "
        f"{usual:.2f}; if they are dark on light, invert them"
    ]


def likeness_remarks(
    supports: Float[Tensor, " n"], queries: Float[Tensor, " m"], known: int, size: int
) -> list[str]:
    r"""Whether the images are unlike those of the training, or the queries unlike the supports.

    A random direction among C known classes has a largest cosine of about :math:`\sqrt{2 \ln C / D}`.

    Args:
        supports, queries: the cosine of each image to the nearest known class.
        known, size: the number of known classes, and of features.

    >>> likeness_remarks(torch.full((4,), 0.6), torch.full((4,), 0.2), 64, 512)[0][:46]
    'the images to classify are unlike the supports'
    """
    own, asked = supports.mean().item(), queries.mean().item()
    chance = math.sqrt(2 * math.log(max(known, 2)) / size)
    if asked < RANDOM * chance:
        return [
            f"the images are unlike those of the training: their features have a cosine of {asked:.2f} to "
            f"the nearest training class, a random direction {chance:.2f}"
        ]
    if asked < UNLIKE * own:
        return [
            f"the images to classify are unlike the supports: their features have a cosine of {asked:.2f} to "
            f"the nearest training class, the supports {own:.2f}"
        ]
    return []


def _to_known(model: GraphFewShot, features: Float[Tensor, "n D"]) -> Float[Tensor, " n"]:
    assert model.known is not None
    known = model.known.prototypes.to(model.device)
    return (normalize(model.transform(features.to(model.device))) @ known.T).amax(1).cpu()


def _training_mean(model: GraphFewShot) -> float | None:
    """The mean brightness of the training images, if the model was trained on a data set here."""
    if "config" not in model.extra or getattr(model.backbone, "input", None) is not None:
        return None
    return float(model.preprocess.mean.mean())


def _some(files: Sequence[Path]) -> list[Path]:
    step = max(1, -(-len(files) // LOOKED_AT))
    return list(files[::step])


def _pictures(files: Sequence[Path]) -> list[np.ndarray]:
    return [decode(read_plain(file, LARGEST_IMAGE), str(file), 3, 32) for file in files]
