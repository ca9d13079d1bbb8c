"""What Python holds as scored data: features, images with what encodes them, or a torch ``Dataset``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sized
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from fewshot.core.errors import InputError
from fewshot.data.from_torch import pixels
from fewshot.data.labelled import SPLITS, FeatureSet, LabelledSet
from fewshot.data.packed import Splits
from fewshot.data.readers.images import decode
from fewshot.evaluation.inputs import ScoredData, of_features, open_source
from fewshot.graph.class_graph import ClassGraph
from fewshot.model.few_shot import GraphFewShot

Network = Callable[[Tensor], Tensor]
KINDS = "a file of features or a checkpoint, a FeatureSet, (features, labels), images or a torch Dataset"


def scored_data(data: Any, model: nn.Module | Network | None = None, batch: int = 256) -> ScoredData:
    """Anything that can be scored, opened.

    A mapping holds splits by name, of which train gives the base mean and the transform; what is not a
    mapping is all of the test split.

    Args:
        data: a path, as `fewshot.evaluation.inputs.open_source` takes it; a `FeatureSet`; ``(features,
            labels)``, arrays or tensors ``[n, D]`` and ``[n]``; a `LabelledSet` of images, uint8
            ``[n, C, H, W]``; a torch ``Dataset`` of ``(item, label)``, whose items are features ``[D]`` or
            images; a mapping of splits to any of the latter four; or what `fewshot.load` returns.
        model: encodes images: a `GraphFewShot`, or any network; default None: there are only features. A
            network gets a torch ``Dataset``'s items as they come, and an image set's values from -1 to 1.
        batch: items of a torch ``Dataset`` at a time; default 256.

    Raises:
        InputError: something else, images without a model, or features with one.

    >>> data = scored_data((np.eye(4).repeat(3, axis=0), np.arange(12) // 3))
    >>> data.labelled("test")
    FeatureSet(4 classes, 12 features of 4)
    """
    if isinstance(data, ScoredData):
        return data
    if isinstance(data, str | Path):
        if model is not None:
            raise InputError("model: expected none with a path, whose checkpoint has a model")
        return open_source(data)
    if isinstance(data, Splits) and isinstance(model, GraphFewShot):
        return ScoredData(model.classifier, dict(data), model, data, model.base_mean.cpu())
    parts = dict(data) if isinstance(data, Splits | Mapping) else {"test": data}
    if strangers := [name for name in parts if name not in SPLITS]:
        raise InputError(f"data: expected splits named {', '.join(SPLITS)}, got {strangers[0]!r}")
    sets = {name: encoded(part, model, batch) for name, part in parts.items() if _any(part)}
    if not isinstance(model, GraphFewShot):
        return of_features(sets)
    return ScoredData(model.classifier, sets, base_mean=model.base_mean.cpu())


def encoded(data: Any, model: nn.Module | Network | None = None, batch: int = 256) -> FeatureSet:
    """One split as features; see `scored_data`, whose options these are."""
    if isinstance(data, tuple) and len(data) == 2:
        data = _of_arrays(*data)
    if isinstance(data, FeatureSet):
        if model is not None:
            raise InputError("model: expected none with features, got one")
        return data
    if isinstance(data, LabelledSet):
        return _encoder(model).features(data)
    if not isinstance(data, Dataset):
        raise InputError(f"data: expected {KINDS}, got {type(data).__name__}")
    if not isinstance(data, Sized) or not len(data):
        raise InputError("data: expected a torch Dataset with a length and items, got one without")
    first = data[0][0]
    if isinstance(first, Tensor) and first.dim() == 1:
        return encoded(_gathered(data, nn.Identity(), batch), model)
    if isinstance(model, GraphFewShot):
        return model.features(_images(data, model))
    if not isinstance(first, Tensor):
        raise InputError(
            f"data: expected items that are tensors, as the network takes them, got {type(first).__name__} "
            "(give the Dataset a transform)"
        )
    if model is None:
        raise InputError("model: expected one that encodes images, got None")
    return _gathered(data, model, batch)


def _any(part: Any) -> bool:
    return not isinstance(part, LabelledSet) or len(part) > 0


def _encoder(model: nn.Module | Network | None) -> GraphFewShot:
    if model is None:
        raise InputError("model: expected one that encodes images, got None")
    return model if isinstance(model, GraphFewShot) else GraphFewShot(model, ClassGraph.pretrained()).eval()


@torch.inference_mode()
def _gathered(data: Dataset[Any], network: nn.Module | Network, batch: int) -> FeatureSet:
    """The features of a data set's items."""
    training = isinstance(network, nn.Module) and network.training
    if isinstance(network, nn.Module):
        network.eval()
    weight = next(network.parameters(), None) if isinstance(network, nn.Module) else None
    features, labels = [], []
    for items, own in DataLoader(data, batch_size=batch):
        found = network(items if weight is None else items.to(weight.device))
        if found.dim() != 2:
            raise InputError(f"model: expected features [n, D] of a batch, got {list(found.shape)}")
        features.append(found.float().cpu())
        labels.append(torch.as_tensor(own).cpu())
    if training:
        network.train()  # type: ignore[union-attr]
    return _of_arrays(torch.cat(features).clone(), torch.cat(labels), getattr(data, "classes", None))


def _images(data: Any, model: GraphFewShot) -> LabelledSet:
    """The images of a data set, at the model's size, and their labels."""
    size, channels = model.preprocess.size, model.preprocess.channels or 3
    pairs = [data[index] for index in range(len(data))]
    found = [decode(pixels(image, i), f"image {i}", channels, size) for i, (image, _) in enumerate(pairs)]
    if len({image.shape for image in found}) > 1:
        raise InputError("data: expected images of one size, as this model does not resize, got several")
    labels = torch.tensor([int(label) for _, label in pairs])
    items = torch.from_numpy(np.stack(found))
    return _sorted(LabelledSet, items, labels, getattr(data, "classes", None))


def _of_arrays(features: Any, labels: Any, names: Any = None) -> FeatureSet:
    """Features and labels of any kind and order."""
    items = torch.as_tensor(np.asarray(features) if not isinstance(features, Tensor) else features).float()
    if items.dim() != 2 or len(items) != len(labels):
        raise InputError(
            f"data: expected features [n, D] and labels [n], got {list(items.shape)} and {len(labels)}"
        )
    if not items.isfinite().all():
        raise InputError("data: expected finite features, got NaN or infinity")
    return _sorted(FeatureSet, items, labels, names)


def _sorted(kind: Any, items: Tensor, labels: Any, names: Any) -> Any:
    """The set of these items, those of each class together; ``names``: of labels that are numbers."""
    values, index = np.unique(np.asarray(labels), return_inverse=True)
    order = np.argsort(index, kind="stable")
    named = tuple(str(value) if names is None else str(names[int(value)]) for value in values)
    return kind(items[torch.from_numpy(order)], torch.from_numpy(index[order].astype(np.int64)), named)
