"""What MAML and ANIL share: a network that each episode's supports adapt by a few gradient steps."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from copy import deepcopy
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fewshot.core.errors import InputError
from fewshot.methods.shared.fitting import fit_on_episodes
from fewshot.methods.shared.material import Material
from fewshot.methods.shared.nodes import check_way, supports_there
from fewshot.model.few_shot import GraphFewShot


class Embedding(nn.Module):
    """A backbone with its features shifted and scaled to mean 0 and, on average, variance 1.

    So one inner learning rate suits any backbone. Mean and scale are measured once, on the given images.

    Args:
        backbone: images to features; copied.
        images: input of the backbone ``[n, C, H, W]`` to measure mean and scale on.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, backbone: nn.Module, images: Float[Tensor, "n C H W"]) -> None:
        super().__init__()
        self.backbone = deepcopy(backbone).requires_grad_(True).eval()
        with torch.no_grad():
            features = torch.cat([self.backbone(some) for some in images.split(64)])
        self.register_buffer("shift", features.mean(0))
        self.register_buffer("scale", (features - features.mean(0)).square().mean().sqrt())

    def forward(self, x: Float[Tensor, "n C H W"]) -> Float[Tensor, "n D"]:
        return (self.backbone(x) - self.shift) / self.scale


class Adaptation(nn.Module):
    r"""Gradient steps on an episode's supports, then logits of its queries.

    .. math:: \theta \leftarrow \theta - \alpha \nabla_\theta \operatorname{cross-entropy}
              (f_\theta(g(\text{supports})), \text{labels}), \qquad
              \operatorname{logits} = f_\theta(g(\text{queries}))

    Training differentiates through the steps; without gradients the steps are the same but cheaper. Batch
    norm always uses its running statistics: with a batch's own the queries would influence each other.

    Args:
        before: g, from uint8 images to the input of what is adapted; not adapted itself.
        adapted: f, to logits ``[n, way]``.
        way: number N of classes.
        lr: :math:`\alpha`.
        steps: how many; default 5.

    Called as all methods are, see `FewShotCall`: support uint8 **[B, N, K, C, H, W]** and query uint8
    **[B, M, C, H, W]** to logits **[B, M, N]**. The episodes are processed one after the other.

    Raises:
        InputError: episodes of another way, or learn2learn is not installed.
    """

    def __init__(self, before: nn.Module, adapted: nn.Module, way: int, lr: float, steps: int = 5) -> None:
        super().__init__()
        self.before, self.way, self.steps = before, way, steps
        self.learner = learn2learn_maml()(adapted, lr=lr)
        self.eval()

    def train(self, mode: bool = True) -> Adaptation:
        """Stay in eval mode, because of batch norm."""
        return super().train(False)

    def forward(
        self,
        support_images: UInt8[Tensor, "B N K C H W"],
        query_images: UInt8[Tensor, "B M C H W"],
        *,
        support_mask: Bool[Tensor, "B N K"] | None = None,
        class_mask: Bool[Tensor, "B N"] | None = None,
        **_: object,
    ) -> Float[Tensor, "B M N"]:
        check_way(support_images, self.way)
        there = supports_there(support_images, support_mask, class_mask)
        labels = torch.arange(self.way, device=there.device).unsqueeze(1).expand(there.shape[1:])
        logits = []
        for b, real in enumerate(there):  # learn2learn adapts to one task at a time
            absent = real.new_zeros(self.way) if class_mask is None else ~class_mask[b]
            learner = self.adapt(self.before(support_images[b][real]), labels[real], absent)
            logits.append(learner(self.before(query_images[b])).masked_fill(absent, -torch.inf))
        return torch.stack(logits)

    def adapt(
        self, x: Tensor, labels: Int64[Tensor, " n"], absent: Bool[Tensor, " N"] | None = None
    ) -> nn.Module:
        """The adapted part after the steps on one episode's supports, without the ``absent`` classes."""
        first_order = not torch.is_grad_enabled()
        with torch.enable_grad():
            learner = self.learner.clone(first_order=first_order)
            for _ in range(self.steps):
                logits = learner(x)
                if absent is not None:
                    logits = logits.masked_fill(absent, -torch.inf)
                learner.adapt(cross_entropy(logits, labels))
        return learner


def learn2learn_maml() -> Callable[..., Any]:
    """learn2learn's MAML; the output of its import is suppressed.

    Raises:
        InputError: learn2learn is not installed.
    """
    silence = io.StringIO()
    try:
        with warnings.catch_warnings(), redirect_stdout(silence), redirect_stderr(silence):
            warnings.simplefilter("ignore")
            from learn2learn.algorithms import MAML
    except ImportError as error:
        raise InputError(
            "methods: maml and anil need learn2learn 0.2.0, which `make setup` installs "
            f"(pip alone cannot build it), got none ({error})"
        ) from error
    return MAML


def parts(material: Material) -> tuple[GraphFewShot, Embedding, nn.Linear]:
    """A material's model, a copy of its backbone, and a linear head of zeros.

    Raises:
        InputError: there are no images or no model.
    """
    if material.model is None or material.images is None:
        raise InputError("methods: maml and anil expected a checkpoint with images, got features")
    model, images = material.model, material.images.train.items
    device = model.base_mean.device
    some = images[:: max(1, len(images) // 256)].to(device)
    embedding = Embedding(model.backbone, model.preprocess(some))
    head = nn.Linear(len(embedding.shift), material.way).to(device)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return model, embedding, head


def meta_train(method: Adaptation, material: Material, **options: Any) -> Adaptation:
    """Train the starting point of the steps on episodes of the base classes' images."""
    assert material.images is not None
    shape: dict[str, Any] = {"way": material.way, "shot": material.shot, "seed": material.seed}
    shape["tell"] = material.tell
    return fit_on_episodes(method, material.images.train, material.images.val, **{**shape, **options})
