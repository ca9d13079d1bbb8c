"""None of these: how well rules recognise queries of classes that the episode does not have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.core.modes import Mode
from fewshot.episodes.fingerprint import Fingerprint
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.relations import Relations
from fewshot.evaluation.scores import as_answer, interval95
from fewshot.methods.catalogue import Method
from fewshot.methods.shared.material import Material

FIGURES = ("auroc", "aupr", "fpr95", "accuracy")


@dataclass(frozen=True, eq=False)
class OpenScores:
    """What a rule scored: a row of the table. *Unknown* is the positive class.

    Args:
        method, mode, relations: which rule it is, and what it looked at.
        unknown: classes per episode that it does not have.
        per_episode: in percent, **[episodes, 4]**: area under the ROC curve, average precision (the area
            under the precision-recall curve), false-positive rate at 95 % true positives, accuracy of the
            queries of the episode's classes.
        fingerprint: of the episodes without the queries of unknown classes.
    """

    method: Method
    mode: str
    relations: str
    unknown: int
    per_episode: Float[Tensor, "episodes 4"]
    fingerprint: str

    def row(self) -> dict[str, Any]:
        """The row as plain values, rounded."""
        figures: dict[str, float | None] = {}
        for name, values in zip(FIGURES, self.per_episode.T, strict=True):
            mean, half = interval95(values)
            figures[name] = round(mean, 3)
            figures[f"{name}_ci95"] = None if len(values) == 1 else round(half, 3)
        return {
            "method": self.method.name,
            "title": self.method.title,
            "paper": self.method.paper,
            "mode": self.mode,
            "relations": self.relations,
            "unknown": self.unknown,
            **figures,
            "episodes": len(self.per_episode),
            "fingerprint": self.fingerprint,
        }


def recognition(
    unknown: Float[Tensor, "B M"], positive: Bool[Tensor, "B M"], counted: Bool[Tensor, "B M"]
) -> Float[Tensor, "B 3"]:
    """Area under the ROC curve, average precision, false-positive rate at 95 % true positives, per episode.

    The figures are those of scikit-learn, from 0 to 1; ties count half, as usual.

    Args:
        unknown: larger, the more likely positive.
        positive: which queries are of no class.
        counted: which queries are not padding.

    >>> positive = torch.tensor([[True, True, False, False]])
    >>> recognition(torch.tensor([[0.9, 0.4, 0.6, 0.1]]), positive, torch.ones(1, 4).bool())
    tensor([[0.7500, 0.8333, 0.5000]], dtype=torch.float64)
    """
    yes, no = (positive & counted).float(), (~positive & counted).float()  # counts are exact in float32
    positives, negatives = yes.sum(1).double(), no.sum(1).double()
    above = (unknown[:, :, None] > unknown[:, None, :]).float()  # [B, of, over]
    level = (unknown[:, :, None] == unknown[:, None, :]).float()
    won = torch.einsum("bi,bij,bj->b", yes, above + 0.5 * level, no).double()
    auroc = won / (positives * negatives)
    at_least = (above + level).mT  # [B, threshold, query]: at or above each query's own score
    true, false = ((at_least @ side[..., None])[..., 0].double() for side in (yes, no))
    aupr = (true / (true + false).clamp_min(1) * yes).sum(1) / positives
    enough = (true >= 0.95 * positives[:, None] - 1e-9) & counted
    fpr95 = torch.where(enough, false / negatives[:, None], torch.inf).amin(1)
    return torch.stack([auroc, aupr, fpr95], 1)


def score_unknown(
    rules: Sequence[Method],
    material: Material,
    sampler: EpisodeSampler,
    modes: Iterable[str] = (Mode.INDUCTIVE, Mode.JOINT),
    relations: Relations | None = None,
    belief: float | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> list[OpenScores]:
    """Score rules for "none of these" on the very same episodes.

    Args:
        rules: of `fewshot.methods.open_set`, or your own.
        material: what they may learn from.
        sampler: episodes of features with queries of unknown classes.
        modes: names of modes; each rule gives one row per mode that it has; default inductive and joint.
        relations: a rule that looks at relations is scored without and with them; default None.
        belief: how far these are believed; default None: it is judged.
        progress: called with one line before anything that takes a while; default: ignores it.

    Raises:
        InputError: a sampler without unknown classes or without end.
    """
    if not sampler.unknown or sampler.episodes is None:
        raise InputError("sampler: expected a number of episodes with unknown classes, got neither or one")
    material = replace(material, tell=progress)
    rows, wanted = [], set(modes)
    for method in rules:
        call = method.prepare(material, progress)
        for mode in (mode for mode in method.modes if mode in wanted):
            for given in (None, relations)[: 2 if relations and method.relations != "no" else 1]:
                kind = "none" if given is None else given.kind
                progress(f"{method.name}, {mode}, relations: {kind}: scoring {sampler.episodes} episodes")
                answer = as_answer(call, joint=Mode(mode).joint, relations=given, belief=belief, unknown=True)
                rows.append(OpenScores(method, mode, kind, sampler.unknown, *_scored(answer, sampler)))
    return rows


@torch.no_grad()
def _scored(answer: Callable[..., Any], sampler: EpisodeSampler) -> tuple[Float[Tensor, "episodes 4"], str]:
    fingerprint, parts = Fingerprint(), []
    for episode in sampler:
        out = answer(episode)
        assert episode.unknown is not None
        counted = torch.ones_like(episode.unknown) if episode.query_mask is None else episode.query_mask
        found = recognition(out.unknown.cpu(), episode.unknown.cpu(), counted.cpu())
        asked = counted.cpu() & ~episode.unknown.cpu()
        hits = (out.logits.argmax(-1).cpu() == episode.query_labels.cpu()) & asked
        accuracy = hits.sum(1) / asked.sum(1)
        parts.append(100 * torch.cat([found, accuracy[:, None].double()], 1))
        fingerprint.update(episode)
    return torch.cat(parts), fingerprint.hexdigest()
