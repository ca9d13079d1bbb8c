"""What a command is given, opened: a checkpoint with its data, or a file of features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewshot.core.errors import InputError
from fewshot.core.taxonomy import as_path
from fewshot.core.untrusted.arrays import read_npz
from fewshot.core.wordnet import path_text
from fewshot.data.class_table import read_class_table
from fewshot.data.labelled import SPLITS, FeatureSet, LabelledSet
from fewshot.data.loading import load
from fewshot.data.packed import Splits
from fewshot.data.synthetic import made_up_features
from fewshot.episodes.hard_classes import class_distances
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.prototype_scale import scale_of
from fewshot.evaluation.relations import Relations, relate
from fewshot.graph.class_graph import ClassGraph
from fewshot.graph.known_classes import KnownClasses
from fewshot.graph.transform import PowerTransform, Transformed
from fewshot.methods.prototypes import USUAL, Scale
from fewshot.methods.shared.material import Material
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.names import without
from fewshot.model.ready import is_ready

LEARNERS = ("base", "known", "images")  # what methods need that learn


@dataclass(frozen=True, eq=False)
class ScoredData:
    """What methods are scored on: labelled features, or labelled images and the model that encodes them.

    Args:
        graph: the model's class graph, or the one that comes with the package, after the power transform
            fitted on the base classes.
        splits: by name. Without a model: features, minus the mean of the train split, if there is one.
        model, images: of a checkpoint.
        base_mean: the mean that was subtracted from the features, [D].
        spec: of the images, ``KIND[:PATH]``.
    """

    graph: nn.Module
    splits: Mapping[str, LabelledSet]
    model: GraphFewShot | None = None
    images: Splits | None = None
    base_mean: Float[Tensor, " D"] | None = None
    spec: str | None = None

    def labelled(self, split: str) -> LabelledSet:
        """The images of a split, or its features if there are no images."""
        if split not in self.splits:
            raise InputError(f"split: expected one of {', '.join(self.splits)}, got {split!r}")
        return self.splits[split]

    def features(self, split: str) -> FeatureSet:
        """The features of a split, minus the base mean if it is known."""
        data = self.labelled(split)
        if self.model is not None:
            return self.model.features(data)
        assert isinstance(data, FeatureSet)
        return data

    def sampler(self, split: str, **options: Any) -> EpisodeSampler:
        """Episodes of a split's features; the options are an `EpisodeSampler`'s."""
        # First of the images, so that what does not fit is reported before they are encoded. Not of hard
        # classes, which may follow from the features.
        soon = {"classes": "uniform"} if options.get("classes") == "hard" else {}
        EpisodeSampler(self.labelled(split), **options | soon)
        return EpisodeSampler(self.features(split), **options)

    def image_sampler(self, split: str, like: EpisodeSampler, **options: Any) -> EpisodeSampler:
        """The very same episodes as those of `like`, a sampler of features, but of images."""
        if options.get("classes") == "hard":
            options["similarity"] = torch.from_numpy(-class_distances(like.data))
        return EpisodeSampler(self.labelled(split), batch=16, **options)

    def known_classes(self) -> KnownClasses:
        """The checkpoint's known classes, or those of the features' train split.

        Raises:
            InputError: there are none.
        """
        if self.model is not None:
            if self.model.known is None:
                raise InputError("relations: expected known classes in the checkpoint, which has none")
            return self.model.known
        if "train" not in self.splits:
            raise InputError("relations: expected a train split, whose classes are the known ones, got none")
        train = self.features("train")
        paths = None if train.paths is None else [as_path(path) for path in train.paths]
        return KnownClasses.fit(self.transform(train.items), train.labels, train.class_names, paths)

    @property
    def transform(self) -> nn.Module:
        """Of features, to the space of the class graph and of the known classes."""
        found = getattr(self.graph, "transform", None)
        return found if isinstance(found, nn.Module) else nn.Identity()

    def relations(self, kind: str, split: str, seed: int = 0) -> Relations | None:
        """Relations of a split's classes to the known ones, see `fewshot.evaluation.relations.relate`.

        Raises:
            InputError: no known classes, or no paths.
        """
        if kind == "none":
            return None
        return relate(kind, self.labelled(split), self.known_classes(), seed, self.transform)

    def lacks(self, split: str) -> dict[str, str]:
        """What methods need and cannot have when this split is scored, each with the reason."""
        reasons: dict[str, str] = {}
        if split == "train":
            reasons = dict.fromkeys(LEARNERS, "the train split is what is scored")
        elif not len(self.splits.get("train", ())):
            reasons = dict.fromkeys(LEARNERS, "no train split to learn from")
        elif not set(_known_names(self.model)) <= set(self.splits["train"].class_names):
            reasons["known"] = "the train split is not that of the known classes"
        if self.images is None:
            reasons["images"] = "no images without a checkpoint"
        return reasons

    def untransformed(self) -> str | None:
        """Why there is no transform before the class graph; None if there is one."""
        if getattr(self.transform, "fitted", False):
            return None
        if self.model is None and "train" not in self.splits:
            return "no train split to fit the transform on"
        return "the base classes' features are not skewed, so nothing is transformed"

    def seen(self, split: str) -> list[str]:
        """The names of a split's classes that a ready model's backbone was trained on."""
        data = self.labelled(split)
        wnids = [] if self.model is None else self.model.extra.get("wnids", [])
        known = {path_text(wnid) for wnid in wnids} - {""}
        paths = data.paths or ()
        return [name for name, path in zip(data.class_names, paths, strict=False) if path in known]

    def remarks(self) -> list[str]:
        """Lines that the user should see."""
        if self.model is None and "train" not in self.splits:
            return ["there is no train split, so the base classes' mean is not known and not subtracted"]
        return []

    def facts(self, data: LabelledSet) -> dict[str, Any]:
        """What was scored on, the same on every machine; with a checkpoint also its images' hash."""
        sizes = {"classes": data.num_classes, "items": len(data), "features": data.items.shape[1]}
        return sizes if self.images is None else {**sizes, "hash": self.images.hash}

    def material(
        self, sampler: EpisodeSampler, split: str, base: bool, relations: Relations | None = None
    ) -> Material:
        """What methods may learn from before the episodes; with `base` also the features of other classes."""
        assert isinstance(sampler.way, int)
        assert isinstance(sampler.shot, int)
        train, val = (
            self.features(name) if base and name != split and len(self.splits.get(name, ())) else None
            for name in ("train", "val")
        )
        return Material(
            way=sampler.way,
            shot=sampler.shot,
            query=sampler.query,
            seed=sampler.seed,
            graph=self.graph,
            train=train,
            val=val,
            base_mean=self.base_mean,
            model=self.model,
            images=self.images,
            known=None if relations is None else relations.known,
            known_relations=None if relations is None else relations.among,
            scale=self.scale,
        )

    @property
    def scale(self) -> Scale:
        """The scale of the prototypes method: that of the checkpoint, or the usual one."""
        return USUAL if self.model is None else scale_of(self.model)


def open_source(path: str | Path, data: str | None = None, without_known: Path | None = None) -> ScoredData:
    """A checkpoint or a ready model with its data, or a file of features, .npz or .npy.

    Raises:
        InputError: neither of these, or something wrong in them.
    """
    if Path(path).suffix.lower() not in (".npz", ".npy") or is_ready(path):
        return open_checkpoint(path, data, without_known)
    path = Path(path)
    if data is not None:
        raise InputError(f"data: expected none with a file of features, got {data!r}")
    if without_known is not None:
        raise InputError(f"without-known: expected none with a file of features, got {without_known}")
    return of_features(read_features(path))


def of_features(splits: Mapping[str, FeatureSet], graph: nn.Module | None = None) -> ScoredData:
    """Features by split: minus the mean of the train split, after whose transform comes the class graph.

    Args:
        splits: any of train, val and test; without train nothing is subtracted and nothing transformed.
        graph: a class graph; default the one that comes with the package.
    """
    mean, transform = None, PowerTransform()
    if "train" in splits:
        mean = splits["train"].mean()
        splits = {name: replace(part, items=part.items - mean) for name, part in splits.items()}
        transform.fit_if_skewed(splits["train"].items)
    graph = ClassGraph.pretrained() if graph is None else graph
    return ScoredData(Transformed(transform, graph), splits, base_mean=mean)


def open_checkpoint(
    path: str | Path, data: str | None = None, without_known: Path | None = None
) -> ScoredData:
    """A checkpoint with the data it was trained on, or with other data; or a ready model with data.

    Raises:
        InputError: not a checkpoint, or something wrong in the data.
    """
    model = load_model(path, without_known)
    images = load_data(model, data)
    spec = data or own_spec(model)
    return ScoredData(model.classifier, dict(images), model, images, model.base_mean.cpu(), spec)


def read_features(path: Path) -> dict[str, FeatureSet]:
    """The splits of a file of features: an .npz has any of train, val and test, an .npy is test."""
    if path.suffix.lower() == ".npy":
        return {"test": FeatureSet.from_npy(path)}
    try:
        names = set(np.unique(read_npz(path, ["split"])["split"]).tolist())
    except (InputError, KeyError):  # whatever is wrong with the file, from_npz reports it
        names = set()
    there = [name for name in SPLITS if name in names]
    return {name: FeatureSet.from_npz(path, name) for name in there or ("test",)}


def load_model(checkpoint: str | Path, without_known: Path | None = None) -> GraphFewShot:
    """A checkpoint, or a ready model by its name, on the GPU if there is one.

    Args:
        checkpoint: a file, or a name as of `fewshot.model.ready`.
        without_known: a table of classes to take out of the known ones; default None.

    Raises:
        InputError: as of `GraphFewShot.load`; no known classes, or none left.
    """
    model = GraphFewShot.load(checkpoint)
    if without_known is not None:
        if model.known is None:
            raise InputError(f"without-known: expected known classes in {checkpoint}, which has none")
        model.known = without(model.known, read_class_table(without_known))
    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def load_data(model: GraphFewShot, spec: str | None) -> Splits:
    """The splits to evaluate on, by default those of the training, at the size of the training images."""
    spec = spec or own_spec(model)
    if spec is None:
        raise InputError("data: expected KIND[:PATH], as the model does not say what it was trained on")
    if spec.startswith("packed:"):  # has its size already; the model resizes if necessary
        return load(spec)
    return load(spec, size=model.preprocess.size, channels=model.preprocess.channels)


def own_spec(model: GraphFewShot) -> str | None:
    """The data that a model was trained on, as ``KIND[:PATH]``; None if it does not say so."""
    return model.extra.get("config", {}).get("data")


def _known_names(model: GraphFewShot | None) -> Sequence[str]:
    return () if model is None or model.known is None else model.known.names or ()


def made_up_data(seed: int = 0) -> ScoredData:
    """Made-up features in three splits."""
    sizes = {"train": (20, 30), "val": (8, 30), "test": (10, 20)}
    splits = {
        name: made_up_features(*size, seed=3 * seed + i) for i, (name, size) in enumerate(sizes.items())
    }
    return ScoredData(ClassGraph.pretrained(), splits)
