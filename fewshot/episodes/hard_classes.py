"""Which classes of a data set are close to each other, for hard episodes."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Int64
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.data.labelled import LabelledSet

_TIES = 20_260_611  # the seed for the order of equally near classes: a constant, so that it never changes


def class_distances(
    data: LabelledSet, similarity: Float[Tensor, "classes classes"] | None = None
) -> Float[np.ndarray, "classes classes"]:
    """Distances between classes, from the first of these that is available:

    1. minus `similarity`, if it is given;
    2. steps in the taxonomy, up to the deepest common ancestor and down again;
    3. 0 within a superclass, 1 across;
    4. minus the cosine of the class means, for features.

    Raises:
        InputError: images with none of these, or a similarity of the wrong shape.
    """
    if similarity is not None:
        expected = [data.num_classes] * 2
        if list(similarity.shape) != expected:
            raise InputError(
                f"similarity: expected [classes, classes] = {expected}, got {list(similarity.shape)}"
            )
        if not similarity.isfinite().all():
            raise InputError("similarity: expected finite numbers, got nan or infinity")
        return -similarity.detach().cpu().double().numpy()
    if data.taxonomy is not None:
        return taxonomy_distances(data.taxonomy)
    if data.superclasses is not None:
        group = np.unique(np.array(data.superclasses), return_inverse=True)[1]
        return (group[:, None] != group).astype(np.float64)
    if data.items.is_floating_point():
        return -cosine_of_means(data.items, data.counts)
    raise InputError(
        'classes="hard": expected a taxonomy, superclasses or a similarity [classes, classes] that says '
        "which classes are near, got images with none of them"
    )


def taxonomy_distances(paths: tuple[str, ...]) -> Float[np.ndarray, "classes classes"]:
    """Steps between classes in a tree, given each class's path from the root.

    >>> taxonomy_distances(("animal/cat", "animal/dog/poodle", "plant")).astype(int).tolist()
    [[0, 3, 3], [3, 0, 4], [3, 4, 0]]
    """
    parts = [path.strip("/").split("/") for path in paths]
    depth = np.array([len(names) for names in parts])
    common = np.zeros((len(paths), len(paths)))
    for level in range(depth.max()):
        number: dict[tuple[str, ...], int] = {}
        node = np.array([number.setdefault(tuple(names[: level + 1]), len(number)) for names in parts])
        deep = depth > level
        common += (node[:, None] == node) & deep[:, None] & deep
    return depth[:, None] + depth - 2 * common


def cosine_of_means(
    items: Float[Tensor, "n ..."], counts: Int64[Tensor, " classes"]
) -> Float[np.ndarray, "classes classes"]:
    """Cosine similarity of the classes' mean items; `counts[c]` items of class c follow those of class c−1.

    Computed on the CPU in double precision, so that the neighbours do not depend on the device.
    """
    flat, counts = items.detach().flatten(1).cpu().numpy(), counts.cpu()
    sums = np.add.reduceat(flat, (counts.cumsum(0) - counts).numpy(), axis=0, dtype=np.float64)
    means = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-300)
    return means @ means.T


def nearest(
    distances: Float[np.ndarray, "classes classes"], neighbours: int
) -> Int[np.ndarray, "classes near"]:
    """Each class's nearest others (or all, if fewer), nearest first; ties in a random but fixed order.

    >>> nearest(np.array([[0.0, 2, 1], [2, 0, 3], [1, 3, 0]]), 2).tolist()
    [[2, 1], [0, 2], [0, 1]]
    """
    distances = distances.copy()
    np.fill_diagonal(distances, np.inf)
    ties = np.random.default_rng(_TIES).random(distances.shape)
    return np.lexsort((ties, distances), axis=-1)[:, : min(neighbours, len(distances) - 1)]
