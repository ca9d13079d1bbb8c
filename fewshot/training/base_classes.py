"""What a model knows of the base classes once its backbone is trained: mean, power transform, prototypes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fewshot.data.labelled import FeatureSet
from fewshot.data.packed import PackedDataset
from fewshot.graph.known_classes import KnownClasses
from fewshot.model.few_shot import GraphFewShot
from fewshot.training.encoding import encoded
from fewshot.training.processes import ALONE, Workers


@dataclass(frozen=True)
class BaseClasses:
    """The classes that a backbone is trained on.

    Args:
        images: of these classes.
        transform: whether skewed features are transformed. Those of a meta-trained backbone are not, since it
            was trained for cosines of its features as they are.
        workers: the processes that share the images.
    """

    images: PackedDataset
    transform: bool
    workers: Workers = ALONE

    def learn(self, model: GraphFewShot) -> FeatureSet:
        """Set the model's mean, transform and known classes; returns the images' features, transformed."""
        model.base_mean = model.base_mean.new_zeros(0)
        features = encoded(model, self.images, self.workers)
        mean = features.mean()
        model.base_mean = mean.to(model.device)
        features.items.sub_(mean)
        if self.transform:
            model.transform.fit_if_skewed(features.items)
        features = replace(features, items=model.transform(features.items.to(model.device)))
        model.known = KnownClasses.fit(
            features.items, features.labels, features.class_names, features.paths
        ).to("cpu")
        return features
