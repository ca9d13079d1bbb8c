"""Classes that are known already, such as those a backbone was trained on: further nodes of a class graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from safetensors.torch import save
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.core.files import replacing, write_json
from fewshot.core.taxonomy import as_path
from fewshot.core.untrusted.documents import read_json
from fewshot.core.untrusted.tensors import read_safetensors
from fewshot.graph.vectors import normalize


@dataclass(frozen=True, eq=False)
class KnownClasses:
    """C known classes: where they lie in the graph's features, what they are called, and where they belong.

    Args:
        prototypes: float ``[C, D]``, in the space of the graph's features; normalised here.
        names: one per class; default the numbers from 0.
        paths: for each class the names from the root of a taxonomy to it, as a sequence or joined by ``/``
            (empty if unknown); default None.

    Raises:
        InputError: not ``[C, D]`` with finite numbers, or not one name and path per class.

    >>> known = KnownClasses(torch.tensor([[3.0, 4.0], [0.0, 2.0]]), ("cat", "dog"))
    >>> known.prototypes
    tensor([[0.6000, 0.8000],
            [0.0000, 1.0000]])
    >>> known
    KnownClasses(2 classes of 2 features, without paths)
    """

    prototypes: Float[Tensor, "C D"]
    names: Sequence[str] | None = None
    paths: Sequence[Sequence[str]] | None = None

    def __post_init__(self) -> None:
        x = self.prototypes
        if not isinstance(x, Tensor) or x.dim() != 2 or not x.is_floating_point() or 0 in x.shape:
            raise InputError(f"prototypes: expected floats [C, D], got {_kind(x)}")
        if not x.isfinite().all():
            raise InputError("prototypes: expected finite numbers, got nan or infinity")
        object.__setattr__(self, "prototypes", normalize(x.detach()))
        for argument in ("names", "paths"):
            if isinstance(getattr(self, argument), str | Mapping):
                raise InputError(f"{argument}: expected one per class, got {getattr(self, argument)!r:.60}")
        names = tuple(map(str, range(len(x)) if self.names is None else self.names))
        object.__setattr__(self, "names", names)
        if self.paths is not None:
            object.__setattr__(self, "paths", tuple(as_path(path) for path in self.paths))
        for argument in ("names", "paths"):
            given = getattr(self, argument)
            if given is not None and len(given) != len(x):
                raise InputError(f"{argument}: expected one per class ({len(x)}), got {len(given)}")

    @classmethod
    def fit(
        cls,
        features: Float[Tensor, "n D"],
        labels: Int64[Tensor, " n"],
        names: Sequence[str] | None = None,
        paths: Sequence[Sequence[str]] | None = None,
    ) -> KnownClasses:
        r"""The normalised means of each class's normalised features.

        .. math:: \mu_c = \widehat{\textstyle\sum_{i : y_i = c} \hat x_i}

        Args:
            features: as the graph gets them (after a transform, minus the base mean) ``[n, D]``.
            labels: int64 ``[n]``, from 0 to C - 1, each at least once.
            names: one per class; default the numbers from 0.
            paths: one per class; default None.

        Raises:
            InputError: features and labels that do not fit, or a class without features.

        >>> KnownClasses.fit(torch.eye(3), torch.tensor([0, 0, 1])).prototypes
        tensor([[0.7071, 0.7071, 0.0000],
                [0.0000, 0.0000, 1.0000]])
        """
        if not isinstance(features, Tensor) or features.dim() != 2 or not features.is_floating_point():
            raise InputError(f"features: expected floats [n, D], got {_kind(features)}")
        whole = isinstance(labels, Tensor) and labels.dtype == torch.int64
        if not whole or labels.shape != features.shape[:1] or not len(labels):
            raise InputError(f"labels: expected int64 [{len(features)}], got {_kind(labels)}")
        counts = torch.bincount(labels) if int(labels.min()) >= 0 else labels.new_zeros(1)
        if not counts.all():
            raise InputError("labels: expected numbers from 0 up, each at least once")
        sums = features.new_zeros(len(counts), features.shape[1])
        sums.index_add_(0, labels.to(sums.device), normalize(features))
        return cls(sums, names, paths)

    def __len__(self) -> int:
        return len(self.prototypes)

    def __repr__(self) -> str:
        (classes, features), paths = self.prototypes.shape, "with" if self.paths else "without"
        return f"KnownClasses({classes} classes of {features} features, {paths} paths)"

    def to(self, device: str | torch.device) -> KnownClasses:
        """The same on a device."""
        return replace(self, prototypes=self.prototypes.to(device))

    def without(self, names: Sequence[str]) -> KnownClasses:
        """All classes except those of these names.

        >>> KnownClasses(torch.eye(3), ("cat", "dog", "owl")).without(["dog"]).names
        ('cat', 'owl')
        """
        left = set(names)
        return self.among([i for i, name in enumerate(self.names or ()) if name not in left])

    def among(self, places: Sequence[int]) -> KnownClasses:
        """The classes at these places.

        >>> KnownClasses(torch.eye(3), ("cat", "dog", "owl")).among([2, 0]).names
        ('owl', 'cat')
        """
        return KnownClasses(
            self.prototypes[list(places)],
            tuple((self.names or ())[i] for i in places),
            None if self.paths is None else tuple(self.paths[i] for i in places),
        )

    def describe(self) -> dict[str, Any]:
        """Names and paths as JSON has them."""
        return {"names": list(self.names or ()), "paths": self.paths and [list(path) for path in self.paths]}

    def save(self, folder: str | Path) -> None:
        """Write ``known.safetensors`` and ``known.json`` into a folder, each atomically."""
        folder = Path(folder)
        with replacing(folder / "known.safetensors") as file:
            file.write_bytes(save({"prototypes": self.prototypes.cpu().contiguous()}))
        write_json(folder / "known.json", self.describe(), indent=None)

    @classmethod
    def load(cls, folder: str | Path) -> KnownClasses:
        """Read what `save` wrote.

        Raises:
            InputError: the folder does not hold known classes.

        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> KnownClasses(torch.eye(2), ("cat", "dog"), (("animal", "cat"), ("animal", "dog"))).save(folder)
        >>> KnownClasses.load(folder).paths
        (('animal', 'cat'), ('animal', 'dog'))
        """
        folder = Path(folder)
        try:
            about = read_json(folder / "known.json")
            tensors = read_safetensors(folder / "known.safetensors", "prototypes")
            return cls(tensors["prototypes"], about["names"], about["paths"])
        except Exception as error:  # a missing file, JSON, safetensors and others each raise their own
            reason = " ".join(str(error).split()[:30])
            raise InputError(
                f"folder: expected known.json and known.safetensors of known classes in {folder}: {reason}"
            ) from error


def _kind(x: Any) -> str:
    if not isinstance(x, Tensor):
        return type(x).__name__
    return f"{str(x.dtype).removeprefix('torch.')} {list(x.shape)}"
