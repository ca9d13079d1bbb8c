"""What the scikit-learn estimator is given: its parameters, and images that its model encodes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from fewshot.core.errors import InputError
from fewshot.graph.class_graph import ClassGraph
from fewshot.graph.transform import Transformed
from fewshot.model.relations import check_relations
from fewshot.model.supports import takes


def check_parameters(given: Mapping[str, Any], known: Any) -> None:
    """Raise an InputError that names the parameter unless these are what `FewShotClassifier` takes.

    Args:
        given: the parameters by name.
        known: the known classes, of the parameters or of the model.

    >>> check_parameters({"joint": "yes", "shots": None}, None)
    Traceback (most recent call last):
    ...
    fewshot.InputError: joint: expected True or False, got 'yes'
    """
    joint, shots, graph, model = (given.get(name) for name in ("joint", "shots", "graph", "model"))
    if not isinstance(joint, bool | np.bool_):
        raise InputError(f"joint: expected True or False, got {joint!r}")
    whole = isinstance(shots, int | np.integer) and not isinstance(shots, bool)
    if shots is not None and not (whole and shots >= 1):
        raise InputError(f"shots: expected a whole number from 1 up, or None for all, got {shots!r}")
    if graph is not None and not isinstance(graph, nn.Module):
        kind = type(graph).__name__
        raise InputError(f"graph: expected a ClassGraph or a module with its call, got {kind}")
    if graph is not None and not takes(graph, "joint"):
        kind = f"{type(graph).__name__}, without joint"
        raise InputError(f"graph: expected a ClassGraph or a module with its call, got {kind}")
    if model is not None:
        from fewshot.model.few_shot import GraphFewShot  # imports the backbones as well

        if not isinstance(model, GraphFewShot):
            raise InputError(f"model: expected a GraphFewShot, got {type(model).__name__}")
    check_relations(known, given.get("relations"), given.get("belief"))
    proportions = given.get("proportions")
    if not (proportions is None or isinstance(proportions, Mapping | str)):
        kind = type(proportions).__name__
        raise InputError(f"proportions: expected 'equal' or a mapping from label to share, got {kind}")
    if proportions is not None and not joint:
        raise InputError("proportions: expected joint=True with them, got joint=False")


def own_graph(model: Any, graph: nn.Module | None, kind: torch.dtype) -> nn.Module:
    """A copy of the graph, so that later changes to the caller's graph do not matter.

    Args:
        model: a `GraphFewShot`, or None.
        graph: None: the model's, or without a model the one that comes with the package.
        kind: the precision to compute in.
    """
    if model is not None:
        graph = model.classifier if graph is None else Transformed(model.transform, graph)
    elif graph is None:
        graph = ClassGraph.pretrained()
    return copy.deepcopy(graph).to(kind).eval().requires_grad_(False)


def encoded(model: Any, X: np.ndarray, size: int | None) -> Float[np.ndarray, "n D"]:
    """Features of images by a model; without one, X holds features already.

    Args:
        model: a `GraphFewShot`, or None.
        X: uint8 ``[n, C, H, W]``, or features.
        size: D of the features before; None: there were none.

    Raises:
        InputError: images whose features do not have ``size`` numbers.
    """
    if model is None:
        return X
    if not len(X):
        return np.empty((0, size or 0), np.float32)
    from fewshot.data.labelled import LabelledSet

    # All have the same label, as only the features matter.
    images = LabelledSet(torch.tensor(X), torch.zeros(len(X), dtype=torch.int64), ("image",))
    features: np.ndarray = model.features(images).items.numpy()
    if size not in (None, features.shape[1]):
        raise InputError(
            "X: expected images of the same size as before, as this model does not resize, "
            f"got {list(X.shape)}"
        )
    return features
