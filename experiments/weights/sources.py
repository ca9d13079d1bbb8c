"""Features of which episodes are drawn to find the graph's weights: photographs, letters, clusters."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from fewshot.core import taxonomy
from fewshot.data.labelled import FeatureSet
from fewshot.evaluation.inputs import ScoredData, open_source
from fewshot.evaluation.relations import Relations, relate

WRONG = 0.4  # share of the classes whose relations are exchanged in partly wrong ones

# Classes, features, scale of the class means, and the power by which the spectrum falls.
CLUSTERS = ((100, 128, 0.8, 0.6), (100, 256, 0.3, 0.0))


@dataclass(frozen=True)
class Source:
    """Features of classes that are new to their backbone, or as near to it as there is.

    ``kind`` is photographs, letters or clusters; ``plain`` the features minus the base mean, for prototypes;
    ``data`` the same after the transform, for the graph; ``relations`` to known classes, by name.
    """

    kind: str
    name: str
    plain: FeatureSet
    data: FeatureSet
    relations: dict[str, Relations] = field(default_factory=dict)

    @property
    def similarity(self) -> Tensor:
        """Cosines of the untransformed class means **[classes, classes]**, for hard episodes."""
        means = torch.stack(
            [self.plain.items[self.plain.labels == c].mean(0) for c in self.plain.labels.unique()]
        )
        unit = torch.nn.functional.normalize(means, dim=1)
        return unit @ unit.T


def sources(folds: Sequence[Path], letters: Path, seed: int) -> Iterator[Source]:
    """All of them: the held-out classes of each fold, the letters' train split, clusters."""
    for folder in folds:
        files = sorted(folder.glob("fold*.npz"))
        if not files:
            raise SystemExit(f"--folds: expected fold*.npz in {folder}, found none")
        for file in files:
            yield features(f"{folder.name}/{file.stem}", "photographs", open_source(file), "val", seed)
    yield features("train", "letters", open_source(letters), "train", seed)
    for number, shape in enumerate(CLUSTERS):
        made = clusters(*shape, seed=seed + number)
        yield Source("clusters", f"{shape[1]} features", made, made)


def features(name: str, kind: str, source: ScoredData, split: str, seed: int) -> Source:
    """A split of a file or checkpoint; with relations if its train split holds other classes."""
    plain = source.features(split)
    with torch.no_grad():
        data = replace(plain, items=source.transform(plain.items))
    related = relations(data, source, seed) if split != "train" and plain.paths else {}
    return Source(kind, name, plain, data, related)


def relations(data: FeatureSet, source: ScoredData, seed: int) -> dict[str, Relations]:
    """True, coarse, partly wrong and false relations to the classes that the backbone saw, and looks."""
    true = relate("taxonomy", data, source.known_classes())
    looks = relate("looks", data, source.known_classes())
    assert true is not None
    assert true.rows is not None
    assert looks is not None
    n, (new, known) = len(true.rows), (taxonomy.cut(paths or ()) for paths in (data.paths, true.known.paths))
    return {
        "true": true,
        "coarse": replace(true, rows=taxonomy.similarity(new, known)),
        "partly wrong": replace(true, rows=true.rows[taxonomy.partly_wrong(n, WRONG, seed)]),
        "shuffled": replace(true, rows=true.rows[taxonomy.shuffled(n, seed)]),
        "looks": looks,
    }


def clusters(
    classes: int, size: int, apart: float, power: float, images: int = 60, seed: int = 0
) -> FeatureSet:
    """Gaussian clusters **[classes·images, size]** that differ in how tight they are.

    >>> clusters(3, 8, apart=1.0, power=0.5, images=4)
    FeatureSet(3 classes, 12 features of 8)
    """
    generator = torch.Generator().manual_seed(seed)
    spectrum = torch.arange(1, size + 1).float().pow(-power)
    spectrum = spectrum / spectrum.square().mean().sqrt()
    means = apart * torch.randn(classes, 1, size, generator=generator) * spectrum
    widths = 0.6 + 0.8 * torch.rand(classes, 1, 1, generator=generator)
    items = means + widths * torch.randn(classes, images, size, generator=generator) * spectrum
    labels = torch.arange(classes).repeat_interleave(images)
    return FeatureSet(items.flatten(0, 1), labels, tuple(f"cluster {c}" for c in range(classes)))
