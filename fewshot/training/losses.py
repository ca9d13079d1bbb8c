"""The losses of training: of a classifier of all classes, of episodes of images, and of the class graph."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fewshot.evaluation.scores import MODES
from fewshot.graph.head import PrototypeHead
from fewshot.graph.vectors import normalize
from fewshot.model.precision import Precision, autocast
from fewshot.training.processes import ALONE, Workers


class CosineClassifier(nn.Module):
    r"""Class scores by a scaled cosine (Gidaris and Komodakis, CVPR 2018).

    .. math:: \operatorname{score}_c = \sigma \; \hat x \cdot \hat w_c

    Args:
        features, classes: sizes D and C.
        scale: the start of the learned scale; default 10.

    Shapes: ``[n, D]`` to ``[n, C]``.
    """

    def __init__(self, features: int, classes: int, scale: float = 10.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, features) / features**0.5)
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, x: Float[Tensor, "n D"]) -> Float[Tensor, "n C"]:
        return self.scale * normalize(x) @ normalize(self.weight).T


class ImageLoss(nn.Module):
    r"""Cross-entropy of images against the base classes; of mixed images, against the classes of both.

    .. math:: \lambda \, \ell(x, y) + (1 - \lambda) \, \ell(x, y')

    Args:
        backbone: images to features.
        classifier: features to scores of the classes.
        label_smoothing: share of the target that is spread over all classes; default 0.
        precision: that of the backbone.
    """

    def __init__(
        self,
        backbone: nn.Module,
        classifier: nn.Module,
        label_smoothing: float = 0.0,
        precision: Precision = "auto",
    ) -> None:
        super().__init__()
        self.backbone, self.classifier = backbone, classifier
        self.label_smoothing, self.precision = label_smoothing, precision

    def forward(
        self,
        x: Float[Tensor, "n C H W"],
        labels: Int64[Tensor, " n"],
        others: Int64[Tensor, " n"] | None = None,
        share: float = 1.0,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        with autocast(x.device, self.precision):
            features = self.backbone(x)
        scores = self.classifier(features.float())
        loss = cross_entropy(scores, labels, label_smoothing=self.label_smoothing)
        if others is not None:
            mixed_in = cross_entropy(scores, others, label_smoothing=self.label_smoothing)
            loss = share * loss + (1 - share) * mixed_in
        return loss, _accuracy(scores, labels)


class EpisodeLoss(nn.Module):
    """Cross-entropy of episodes of images, with the features centred on their own mean.

    All images of a batch are of base classes, so their mean estimates the base mean.

    Args:
        backbone: images to features.
        method: from support ``[B, N, K, D]``, query ``[B, M, D]``, labels ``[B, M]`` and the classes' shares
            ``[B, N]`` to loss and accuracy: a `GraphLoss` or a `PrototypeLoss`.
        precision: that of the backbone.
        workers: the processes over whose images the mean is taken.
    """

    def __init__(
        self,
        backbone: nn.Module,
        method: nn.Module,
        precision: Precision = "auto",
        workers: Workers = ALONE,
    ) -> None:
        super().__init__()
        self.backbone, self.method, self.precision = backbone, method, precision
        self.workers = workers

    def forward(
        self,
        x: Float[Tensor, "n C H W"],
        labels: Int64[Tensor, "B M"],
        shares: Float[Tensor, "B N"],
        shot: int,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        (b, n), k = shares.shape, shot
        with autocast(x.device, self.precision):
            features = self.backbone(x).float()  # [B·N·K + B·M, D]
        features = features - self.workers.mean(features.mean(0))
        support = features[: b * n * k].unflatten(0, (b, n, k))
        query = features[b * n * k :].unflatten(0, (b, -1))
        return self.method(support, query, labels, shares)


class PrototypeLoss(nn.Module):
    """Cross-entropy of queries against the normalised mean of each class's normalised supports."""

    def __init__(self) -> None:
        super().__init__()
        self.head = PrototypeHead()

    def forward(
        self,
        support: Float[Tensor, "B N K D"],
        query: Float[Tensor, "B M D"],
        labels: Int64[Tensor, "B M"],
        shares: Float[Tensor, "B N"],
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        scores = self.head(query, normalize(support).mean(2))
        return cross_entropy(scores.flatten(0, 1), labels.flatten()), _accuracy(scores, labels)


class GraphLoss(nn.Module):
    """Cross-entropy of the class graph, averaged over `MODES` and joint mode given which classes occur."""

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.graph = graph

    def forward(
        self,
        support: Float[Tensor, "B N K D"],
        query: Float[Tensor, "B M D"],
        labels: Int64[Tensor, "B M"],
        shares: Float[Tensor, "B N"],
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        options: list[dict[str, Any]] = [
            {"joint": joint, "proportions": shares if known else None} for joint, known in MODES.values()
        ]
        options.append({"joint": True, "evidence": (shares > 0).to(shares.dtype)})
        scores = torch.stack([self.graph(support, query, **given).logits for given in options])
        every = labels.expand(len(options), -1, -1)  # [modes, B, M]
        return cross_entropy(scores.flatten(0, 2), every.flatten()), _accuracy(scores, every)


def _accuracy(scores: Tensor, labels: Tensor) -> Float[Tensor, ""]:
    return (scores.detach().argmax(-1) == labels).float().mean()
