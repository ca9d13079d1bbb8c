"""Ideas for the class graph that were tried and left out, with their figures on the validation classes.

    python experiments/tried.py FEATURES.npz

Each idea is added to a plain version of the graph, which assigns queries to classes for eight rounds with
known proportions, or, if it is inductive, to prototypes; the gain over these is paired by episode. Writes
``experiments/results/tried.json`` and ``tried.md``.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from main_job import RESULTS, machine
from torch import Tensor

from fewshot.data.labelled import FeatureSet
from fewshot.episodes.episode import Episode
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.scores import evaluate, paired_difference
from fewshot.graph.vectors import normalize

SCALE, WEIGHT, COUPLING, ROUNDS = 10.0, 0.26, 1.3, 8


def units(episode: Episode) -> tuple[Tensor, Tensor]:
    return normalize(episode.support), normalize(episode.query)


def joint(
    support: Tensor,
    query: Tensor,
    shares: Tensor,
    *,
    sharpness: float = 1.0,
    weights: Tensor | None = None,
    kernel: tuple[float, float] | None = None,
) -> Tensor:
    """Queries assigned to classes, with votes that are sharpened, weighted, or smoothed by a kernel."""
    sums, bias = support.sum(2), torch.zeros(support.shape[:2])
    logits = SCALE * query @ normalize(sums).transpose(1, 2)
    for _ in range(ROUNDS):
        mass = (logits + bias[:, None]).softmax(-1).sum(1)
        bias = bias - COUPLING * (mass / (shares * query.shape[1])).clamp_min(1e-3).log()
        votes = (sharpness * (logits + bias[:, None])).softmax(-1)
        counted = votes if weights is None else votes * weights
        logits = SCALE * query @ normalize(sums + WEIGHT * counted.transpose(1, 2) @ query).transpose(1, 2)
        if kernel is not None:
            strength, narrow = kernel
            near = narrow * query @ query.transpose(1, 2)
            near.diagonal(dim1=1, dim2=2).fill_(-torch.inf)
            logits = logits + strength * near.softmax(-1) @ votes
    return logits + bias[:, None]


def smoothed(support: Tensor, query: Tensor, narrow: float, share: float) -> tuple[Tensor, Tensor]:
    """Every image moved towards similar ones in the episode (simple graph convolution)."""
    images = torch.cat([support.flatten(1, 2), query], 1)
    near = narrow * images @ images.transpose(1, 2)
    near.diagonal(dim1=1, dim2=2).fill_(-torch.inf)
    images = normalize(images + share * near.softmax(-1) @ images)
    count = support.shape[1] * support.shape[2]
    return images[:, :count].view_as(support), images[:, count:]


def flattened(support: Tensor, query: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """The episode's strongest directions weakened (first order of whitening)."""
    images = torch.cat([support.flatten(1, 2), query], 1)
    images = normalize(images - strength * (images @ images.transpose(1, 2) @ images) / images.shape[1])
    count = support.shape[1] * support.shape[2]
    return images[:, :count].view_as(support), images[:, count:]


def nearest_support(episode: Episode, share: float, narrow: float) -> Tensor:
    """Prototypes, and a soft maximum over a class's supports."""
    support, query = units(episode)
    cosines = torch.einsum("bmd,bnkd->bmnk", query, support)
    plain = SCALE * query @ normalize(support.sum(2)).transpose(1, 2)
    return plain + share * torch.logsumexp(narrow * cosines, -1)


def discriminative(episode: Episode, rate: float, steps: int) -> Tensor:
    """Gradient steps on the supports' own cross-entropy, starting from the prototypes."""
    support, query = units(episode)
    nodes, way = normalize(support.sum(2)), support.shape[1]
    truth = torch.eye(way)[None, :, None]
    for _ in range(steps):
        wrong = truth - (SCALE * torch.einsum("bikd,bcd->bikc", support, nodes)).softmax(-1)
        nodes = normalize(nodes + rate * torch.einsum("bikc,bikd->bcd", wrong, support) / support.shape[2])
    return query @ nodes.transpose(1, 2)


def ridge(episode: Episode, strength: float) -> Tensor:
    """Linear discriminants by the spread of the supports."""
    support, query = units(episode)
    rest = (support - support.mean(2, keepdim=True)).flatten(1, 2)
    gram = torch.eye(rest.shape[1]) + strength / rest.shape[1] * rest @ rest.transpose(1, 2)
    nodes = normalize(support.sum(2))
    turned = torch.linalg.solve(gram, rest @ nodes.transpose(1, 2)).transpose(1, 2) @ rest
    return query @ normalize(nodes - strength / rest.shape[1] * turned).transpose(1, 2)


def by_length(episode: Episode, power: float) -> Tensor:
    """Supports weighted by a power of their features' length."""
    support, query = units(episode)
    length = episode.support.norm(dim=-1, keepdim=True) ** power
    return query @ normalize((support * length).sum(2)).transpose(1, 2)


def away(episode: Episode, share: float) -> Tensor:
    """Prototypes moved along the mean of the other classes."""
    support, query = units(episode)
    nodes = normalize(support.sum(2))
    others = (nodes.sum(1, keepdim=True) - nodes) / (nodes.shape[1] - 1)
    return query @ normalize(nodes + share * others).transpose(1, 2)


def given_shares(
    change: Callable[..., tuple[Tensor, Tensor]] | None = None, **options
) -> Callable[[Episode], Tensor]:
    def predict(episode: Episode) -> Tensor:
        pair = units(episode)
        return joint(*(change(*pair) if change else pair), episode.proportions, **options)

    return predict


def weighted(power: float) -> Callable[[Episode], Tensor]:
    def predict(episode: Episode) -> Tensor:
        length = episode.query.norm(dim=-1, keepdim=True)
        weights = (length / length.mean(1, keepdim=True)) ** power
        return joint(*units(episode), episode.proportions, weights=weights)

    return predict


JOINT: dict[str, Callable[[Episode], Tensor]] = {
    "plain": given_shares(),
    "sharper votes (2)": given_shares(sharpness=2.0),
    "softer votes (0.5)": given_shares(sharpness=0.5),
    "queries weighted by length": weighted(1.0),
    "smoothing of images (10, 0.5)": given_shares(lambda s, q: smoothed(s, q, 10.0, 0.5)),
    "smoothing of images (10, 1)": given_shares(lambda s, q: smoothed(s, q, 10.0, 1.0)),
    "weaker strong directions (1)": given_shares(lambda s, q: flattened(s, q, 1.0)),
    "weaker strong directions (3)": given_shares(lambda s, q: flattened(s, q, 3.0)),
    "kernel of queries (1, 7)": given_shares(kernel=(1.0, 7.0)),
    "kernel of queries (2, 20)": given_shares(kernel=(2.0, 20.0)),
}
INDUCTIVE: dict[str, Callable[[Episode], Tensor]] = {
    "plain": lambda e: away(e, 0.0),
    "towards the other classes (0.15)": lambda e: away(e, 0.15),
    "away from the other classes (0.15)": lambda e: away(e, -0.15),
    "nearest supports (0.3, 10)": lambda e: nearest_support(e, 0.3, 10.0),
    "discriminative steps (0.5, 3)": lambda e: discriminative(e, 0.5, 3),
    "ridge discriminants (5)": lambda e: ridge(e, 5.0),
    "supports weighted by length": lambda e: by_length(e, 1.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("features", type=Path)
    parser.add_argument("--episodes", type=int, default=1000)
    arguments = parser.parse_args()
    data = FeatureSet.from_npz(arguments.features, "val")
    data = replace(data, items=data.items - FeatureSet.from_npz(arguments.features, "train").mean())
    rows, lines = [], ["| tried | 1-shot | 5-shot |", "|---|---|---|"]
    for mode, ideas in (("joint-known", JOINT), ("inductive", INDUCTIVE)):
        found: dict[str, list[str]] = {name: [] for name in ideas}
        for shot in (1, 5):
            sampler = EpisodeSampler(data, 5, shot, 15, episodes=arguments.episodes, batch=100, seed=0)
            plain = evaluate(ideas["plain"], sampler, method="plain", mode=mode)
            for name, predict in ideas.items():
                scores = evaluate(predict, sampler, method=name, mode=mode)
                gain, ci95 = paired_difference(scores, plain)
                rows.append({**scores.row(), "gain": round(gain, 3), "gain_ci95": round(ci95, 3)})
                found[name].append(
                    f"{scores.accuracy:.2f}" if name == "plain" else f"{gain:+.2f} ± {ci95:.2f}"
                )
        lines += [f"| {mode}: {name} | {' | '.join(cells)} |" for name, cells in found.items()]
    content = {"split": "val", "seed": 0, "machine": machine(), "rows": rows}
    (RESULTS / "tried.json").write_text(json.dumps(content, indent=1) + "\n")
    (RESULTS / "tried.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
