"""A folder of labelled images, one folder per class: encoded, with the classes' relations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fewshot.core.class_names import Meaning
from fewshot.core.errors import InputError
from fewshot.graph.vectors import normalize
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.folder_relations import FolderRelations, folder_relations
from fewshot.model.image_files import cache_for, encode_support, support_files


@dataclass(frozen=True, eq=False)
class Supports:
    """The classes of a support folder, encoded.

    Args:
        files: per class, by name.
        features, mask: as `encode_support` gives them.
        related: the classes' relations to the model's known classes; None: there are none.
    """

    files: dict[str, list[Path]]
    features: Float[Tensor, "1 N K D"]
    mask: Bool[Tensor, "1 N K"]
    related: FolderRelations | None = None

    @property
    def names(self) -> list[str]:
        """The classes."""
        return list(self.files)

    @property
    def paths(self) -> dict[str, str]:
        """The classes' paths in the known classes' taxonomy, as far as they were found."""
        meanings = {} if self.related is None else self.related.meanings
        return {name: "/".join(found.path) for name, found in meanings.items() if found.path}

    @property
    def shots(self) -> Int[np.ndarray, " N"]:
        """How many images each class has."""
        return self.mask[0].sum(-1).numpy()

    def meaning(self, name: str) -> Meaning:
        """What a class was taken for."""
        return self.related.meanings.get(name, Meaning()) if self.related is not None else Meaning()


def read_supports(
    model: GraphFewShot,
    support: str | Path,
    relations: str | Path = "names",
    encode: Callable[[Sequence[Path]], Float[Tensor, "n D"]] | None = None,
) -> Supports:
    """The classes of a support folder, encoded, with their relations.

    Args:
        model: whose features and known classes they are.
        support, relations: as `predict` takes them.
        encode: what gives the features of files; default None: `encode_files`, with the cache.

    Raises:
        InputError: as of `predict`.
    """
    classes = support_files(support, zero_shot=True)
    features, mask = encode_support(model, classes, cache_for(model) if encode is None else None, encode)
    prototypes = class_prototypes(model, features, mask)
    return Supports(classes, features, mask, relations_of(model, relations, support, classes, prototypes))


def class_prototypes(
    model: GraphFewShot, features: Float[Tensor, "1 N K D"], mask: Bool[Tensor, "1 N K"]
) -> Float[Tensor, "N D"]:
    """The normalised means of the classes' normalised features after the transform; NaN without images."""
    units = normalize(model.transform(features[0].to(model.device)).cpu()) * mask[0, ..., None]
    seen = mask[0].any(1, keepdim=True)
    return normalize(units.sum(1)).where(seen, torch.nan)


def relations_of(
    model: GraphFewShot,
    relations: str | Path,
    support: str | Path,
    classes: dict[str, list[Path]],
    prototypes: Float[Tensor, "N D"] | None = None,
) -> FolderRelations | None:
    """The classes' relations, which a class without images needs."""
    related = folder_relations(relations, support, list(classes), model.known, prototypes)
    for place, (name, files) in enumerate(classes.items()):
        if not files and (related is None or related.rows[place].isnan().any()):
            raise InputError(
                f"support: class {name!r} has no image in {Path(support) / name}, and no relations: its name "
                "was not found among those that the model can use; put an image there, or what it is called "
                "into names.csv"
            )
    return related
