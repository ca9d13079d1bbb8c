"""Training of the methods that learn: on episodes of base classes, through the one training loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float, Int64, Shaped
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fewshot.core.errors import InputError
from fewshot.core.loop import Batch, Stage, fit
from fewshot.core.seeds import seeded
from fewshot.data.labelled import LabelledSet
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.methods.shared.material import Material

M = TypeVar("M", bound=nn.Module)


@runtime_checkable
class OwnLoss(Protocol):
    """A method with a loss of its own; others are trained with the cross-entropy of their logits."""

    def losses(self, support: Tensor, query: Tensor, labels: Tensor, *, joint: bool) -> tuple[Tensor, Tensor]:
        """The loss, and the logits ``[B, M, N]``."""


class EpisodicLoss(nn.Module):
    """Loss and accuracy of a method on episodes: the module that the loop trains.

    Args:
        method: called as all methods are (`FewShotCall`), to logits ``[B, M, N]``.
        joint: whether it looks at all queries of an episode together.
        known: prototypes of known classes ``[C, D]``, for a method that is given relations; default None.
    """

    def __init__(
        self, method: nn.Module, joint: bool = False, known: Float[Tensor, "C D"] | None = None
    ) -> None:
        super().__init__()
        self.method, self.joint, self.known = method, joint, known

    def forward(
        self,
        support: Shaped[Tensor, "B N K *item"],
        query: Shaped[Tensor, "B M *item"],
        labels: Int64[Tensor, "B M"],
        relations: Float[Tensor, "B N C"] | None = None,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        if isinstance(self.method, OwnLoss):
            loss, logits = self.method.losses(support, query, labels, joint=self.joint)
        else:
            further = {} if relations is None else {"known": self.known, "relations": relations}
            logits = self.method(support, query, joint=self.joint, **further)
            loss = cross_entropy(logits.flatten(0, 1), labels.flatten())
        return loss, (logits.detach().argmax(-1) == labels).float().mean()


class Silent:
    """A recorder that keeps nothing."""

    def log(self, row: dict[str, Any]) -> None: ...

    def progress(self, stage: Stage, step: int) -> None: ...

    def save(self, stage: str, state: dict[str, Any]) -> None: ...


class Telling(Silent):
    """A recorder that tells now and then how far a stage is.

    Args:
        tell: takes a line.
        every: seconds between lines; default 10.
    """

    def __init__(self, tell: Callable[[str], None], every: float = 10.0) -> None:
        self.tell, self.every, self.told = tell, every, time.monotonic()

    def progress(self, stage: Stage, step: int) -> None:
        if time.monotonic() - self.told > self.every:
            self.tell(f"step {step} of {stage.steps}")
            self.told = time.monotonic()


def fit_on_episodes(
    module: M,
    train: LabelledSet,
    val: LabelledSet | None,
    *,
    way: int,
    shot: int,
    query: int,
    seed: int,
    steps: int,
    lr: float,
    batch: int = 16,
    weight_decay: float = 5e-4,
    joint: bool = False,
    checks: int = 5,
    val_episodes: int = 300,
    known: Float[Tensor, "C D"] | None = None,
    relations: Float[Tensor, "C C"] | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> M:
    """Train a method on base-class episodes; it ends with the weights that did best on validation classes.

    AdamW with a one-cycle schedule, on the module's device. The same seed gives the same weights.

    Args:
        module: called as all methods are (`FewShotCall`); trained in place. With ``losses`` it brings its
            own loss.
        train, val: items of the base and of the validation classes; if there are none of the latter, or too
            few for such episodes, the last weights are kept.
        way, shot, query: of the episodes of both; queries come shuffled.
        seed: of the episodes and of what is random in the module, such as dropout.
        steps: number of steps, each of ``batch`` episodes.
        lr: highest learning rate.
        batch: episodes per step; default 16.
        weight_decay: of AdamW; default 5e-4.
        joint: train it to look at all queries of an episode together; default False.
        checks: how many times it is scored on the validation classes; default 5.
        val_episodes: number of validation episodes; default 300.
        known, relations: the base classes as known ones, and the relations among them, for a method that is
            given relations: those to the classes of an episode are hidden from it (NaN). Default None.
        tell: called with one line every ten seconds; default: ignores it.

    Returns:
        The module, in eval mode.

    Raises:
        InputError: the episodes do not fit into the data, or the loss is no longer a number.
    """
    device = next(module.parameters()).device
    loss = EpisodicLoss(module, joint, None if known is None else known.to(device))
    judged = val is not None and val.num_classes >= way and int(val.counts.min()) >= shot + query
    turns = count()
    shape: dict[str, Any] = {"way": way, "shot": shot, "query": query, "batch": batch, "seed": seed}

    def batches(start: int) -> Iterator[Batch]:
        for drawn in EpisodeSampler(train, **shape, start=start * batch):
            episode = drawn.to(device)
            further = () if relations is None else (hide_own(relations.to(device), episode.classes),)
            yield episode.support, episode.query, episode.query_labels, *further

    @torch.no_grad()
    def validate() -> dict[str, float]:
        if val is None or not judged:
            return {"val_accuracy": float(next(turns))}  # the later the better
        module.eval()
        hits = []
        for drawn in EpisodeSampler(val, **shape, episodes=val_episodes):
            episode = drawn.to(device)
            answers = module(episode.support, episode.query, joint=joint).argmax(-1)
            hits.append((answers == episode.query_labels).double().mean(1))
        return {"val_accuracy": 100 * torch.cat(hits).mean().item()}

    stage = Stage(
        name="method",
        module=loss,
        batches=batches,
        steps=steps,
        optimizer=torch.optim.AdamW(loss.parameters(), lr, weight_decay=weight_decay),
        warmup=0.15,
        validate=validate,
        validate_every=max(1, steps // checks),
        rate=(batch, "episodes"),
    )
    with seeded(seed):
        fit(stage, Fabric(accelerator=device.type, devices=1), Telling(tell))
    return module.eval()


def hide_own(relations: Float[Tensor, "C C"], classes: Int64[Tensor, "B N"]) -> Float[Tensor, "B N C"]:
    """The relations of an episode's classes to known ones, with NaN for the episode's own.

    >>> hide_own(torch.tensor([[1.0, 0.2, 0.3], [0.2, 1.0, 0.4], [0.3, 0.4, 1.0]]), torch.tensor([[2, 0]]))
    tensor([[[   nan, 0.4000,    nan],
             [   nan, 0.2000,    nan]]])
    """
    own = classes[:, None].expand(-1, classes.shape[1], -1)
    return relations[classes].scatter(-1, own, torch.nan)


def fit_on_features(material: Material, build: Callable[[int], M], **options: Any) -> M:
    """Build a method for features of the material's size D, and train it on the material's base classes.

    Args:
        material: what to learn from, and for which episodes.
        build: from D to the method; its random weights follow from the material's seed.
        options: of `fit_on_episodes`.

    Raises:
        InputError: there are no features of base classes.
    """
    if material.train is None:
        raise InputError("features: expected some of the base classes for a method that learns, got none")
    with seeded(material.seed):
        module = build(material.train.items.shape[1])
    shape: dict[str, Any] = {
        "way": material.way,
        "shot": material.shot,
        "query": material.query,
        "seed": material.seed,
    }
    shape["tell"] = material.tell
    return fit_on_episodes(module, material.train, material.val, **{**shape, **options})
