"""What a command is given, opened: a checkpoint with its data, a file of features, a method by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewshot.core.errors import InputError
from fewshot.core.modes import Mode
from fewshot.data.labelled import SPLITS, FeatureSet, LabelledSet
from fewshot.data.loading import load
from fewshot.data.packed import Splits
from fewshot.data.synthetic import made_up_features, made_up_images
from fewshot.episodes.hard_classes import class_distances
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.audit import fitting_sampler
from fewshot.graph.class_graph import ClassGraph
from fewshot.graph.transform import PowerTransform, Transformed
from fewshot.methods import catalogue
from fewshot.methods.catalogue import Method
from fewshot.methods.shared.call import FewShotCall
from fewshot.methods.shared.material import Material
from fewshot.model.few_shot import GraphFewShot

Subject = tuple[FewShotCall, tuple[str, ...], LabelledSet]  # a call, its modes, items for episodes


@dataclass(frozen=True, eq=False)
class ScoredData:
    """What methods are scored on: labelled features, or labelled images and the model that encodes them.

    Args:
        graph: the model's class graph, or the one that comes with the package, after the power transform
            fitted on the base classes.
        splits: by name. Without a model: features, minus the mean of the train split, if there is one.
        model, images: of a checkpoint.
        base_mean: the mean that was subtracted from the features, [D].
    """

    graph: nn.Module
    splits: Mapping[str, LabelledSet]
    model: GraphFewShot | None = None
    images: Splits | None = None
    base_mean: Float[Tensor, " D"] | None = None

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
        EpisodeSampler(self.labelled(split), **options | {"classes": "uniform"})
        return EpisodeSampler(self.features(split), **options)

    def image_sampler(self, split: str, like: EpisodeSampler, **options: Any) -> EpisodeSampler:
        """The very same episodes as those of `like`, a sampler of features, but of images."""
        if options.get("classes") == "hard":
            options["similarity"] = torch.from_numpy(-class_distances(like.data))
        return EpisodeSampler(self.labelled(split), batch=16, **options)

    def lacks(self, split: str) -> dict[str, str]:
        """What methods need and cannot have when this split is scored, each with the reason."""
        reasons = {}
        if split == "train":
            reasons["base"] = reasons["images"] = "the train split is what is scored"
        elif not len(self.splits.get("train", ())):
            reasons["base"] = reasons["images"] = "no train split to learn from"
        if self.images is None:
            reasons["images"] = "no images without a checkpoint"
        return reasons

    def remarks(self) -> list[str]:
        """Lines that the user should see."""
        if self.model is None and "train" not in self.splits:
            return ["there is no train split, so the base classes' mean is not known and not subtracted"]
        return []

    def facts(self, data: LabelledSet) -> dict[str, Any]:
        """What was scored on, the same on every machine; with a checkpoint also its images' hash."""
        sizes = {"classes": data.num_classes, "items": len(data), "features": data.items.shape[1]}
        return sizes if self.images is None else {**sizes, "hash": self.images.hash}

    def material(self, sampler: EpisodeSampler, split: str, base: bool) -> Material:
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
        )


def open_source(path: Path, data: str | None = None) -> ScoredData:
    """A checkpoint with its data, or a file of features, .npz or .npy.

    Raises:
        InputError: neither of these, or something wrong in them.
    """
    if path.suffix.lower() not in (".npz", ".npy"):
        return open_checkpoint(path, data)
    if data is not None:
        raise InputError(f"data: expected none with a file of features, got {data!r}")
    splits = read_features(path)
    mean, transform = None, PowerTransform()
    if "train" in splits:
        mean = splits["train"].mean()
        splits = {name: replace(part, items=part.items - mean) for name, part in splits.items()}
        transform.fit_if_skewed(splits["train"].items)
    return ScoredData(Transformed(transform, ClassGraph.pretrained()), splits, base_mean=mean)


def open_checkpoint(path: Path, data: str | None = None) -> ScoredData:
    """A checkpoint with the data it was trained on, or with other data.

    Raises:
        InputError: not a checkpoint, or something wrong in the data.
    """
    model = load_model(path)
    images = load_data(model, data)
    return ScoredData(model.classifier, dict(images), model, images, model.base_mean.cpu())


def open_subject(
    subject: str, features: Path | None, data: str | None, seed: int, tell: Callable[[str], None]
) -> Subject:
    """What to audit: its call, its modes, and items for episodes.

    Args:
        subject: a method's name, or a checkpoint's path.
        features: for a method: an .npz or .npy file; None: made-up features.
        data: for a checkpoint, see `load_data`; None: made-up images if its own data cannot be loaded.
        seed: of what is made up, and of a method that learns.
        tell: called with each line for the user.

    Raises:
        InputError: no such method or file, an option that does not go with it, or a method that needs what
            there is none of.
    """
    known = {method.name: method for method in catalogue.find(None)}
    if subject in known:
        if data is not None:
            raise InputError(f"data: expected none with a method, got {data!r}")
        return _open_method(known[subject], features, seed, tell)
    if not Path(subject).exists():
        raise InputError(f"subject: expected {', '.join(known)} or a checkpoint, got {subject!r}")
    if features is not None:
        raise InputError("features: expected none with a checkpoint, which has a model for images")
    model = load_model(Path(subject))
    return model, tuple(Mode), _images_for(model, data, seed, tell)


def _open_method(method: Method, features: Path | None, seed: int, tell: Callable[[str], None]) -> Subject:
    source = made_up_data(seed) if features is None else open_source(features)
    split = next(name for name in ("test", "val", "train") if name in source.splits)
    reason = source.lacks(split).get(method.needs)
    if method.needs == "images":
        reason = f"it works on images; use fewshot compare CHECKPOINT --methods {method.name}"
    if reason is not None:
        raise InputError(f"subject: {method.name} cannot be audited here: {reason}")
    if method.needs == "base":
        tell(f"{method.name}: learning")
    sampler = fitting_sampler(source.features(split), seed)
    return method.make(source.material(sampler, split, method.needs == "base")), method.modes, sampler.data


def _images_for(model: GraphFewShot, spec: str | None, seed: int, tell: Callable[[str], None]) -> LabelledSet:
    try:
        return load_data(model, spec).test
    except (InputError, OSError) as error:
        if spec is not None:
            raise
        tell(f"made-up images are used because its data cannot be loaded: {error}")
    form = model.preprocess
    return made_up_images(5, 8, form.size or 32, form.channels or 3, seed)


def read_features(path: Path) -> dict[str, FeatureSet]:
    """The splits of a file of features: an .npz has any of train, val and test, an .npy is test."""
    if path.suffix.lower() == ".npy":
        return {"test": FeatureSet.from_npy(path)}
    try:
        with np.load(path, allow_pickle=False) as file:
            names = set(np.unique(file["split"]).tolist())
    except Exception:  # whatever is wrong with the file, from_npz reports it
        names = set()
    there = [name for name in SPLITS if name in names]
    return {name: FeatureSet.from_npz(path, name) for name in there or ("test",)}


def load_model(checkpoint: Path) -> GraphFewShot:
    """A checkpoint, on the GPU if there is one."""
    return GraphFewShot.load(checkpoint).to("cuda" if torch.cuda.is_available() else "cpu")


def load_data(model: GraphFewShot, spec: str | None) -> Splits:
    """The splits to evaluate on, by default those of the training, at the size of the training images."""
    spec = spec or model.extra.get("config", {}).get("data")
    if spec is None:
        raise InputError("data: expected KIND[:PATH], as the checkpoint does not say what it was trained on")
    if spec.startswith("packed:"):  # has its size already; the model resizes if necessary
        return load(spec)
    return load(spec, size=model.preprocess.size, channels=model.preprocess.channels)


def made_up_data(seed: int = 0) -> ScoredData:
    """Made-up features in three splits."""
    sizes = {"train": (20, 30), "val": (8, 30), "test": (10, 20)}
    splits = {
        name: made_up_features(*size, seed=3 * seed + i) for i, (name, size) in enumerate(sizes.items())
    }
    return ScoredData(ClassGraph.pretrained(), splits)
