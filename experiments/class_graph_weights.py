"""Find the class graph's weights that ship with the package.

    python experiments/fold_features.py --data miniimagenet:PATH/tiny-imagenet-fs.tar --out FOLDS
    python experiments/class_graph_weights.py --folds FOLDS --photographs FEATURES.npz --glyphs CHECKPOINT

FOLDS holds features of base classes by backbones that did not see them, so that they are distributed like
those of new classes; the checkpoint's backbone encodes the built-in letters' train split. A pattern search
moves one of the graph's scalars at a time, as long as this increases the accuracy above prototypes, averaged
over shots, query shares, label noise and near classes. Cross-entropy and its gradient make the graph more
confident, not more often right; cross-entropy only sets the temperature of the joint mode, at the end. The
weights go to ``fewshot/graph/weights/class_graph``, their figures on the validation classes of FEATURES.npz
and of the letters to ``experiments/results/class_graph_weights.json``. Nothing is chosen by these figures,
and no test split is read.
"""

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import torch
from main_job import RESULTS, machine
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fewshot.data.labelled import FeatureSet
from fewshot.data.loading import load
from fewshot.episodes.episode import Episode
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.inputs import open_source
from fewshot.evaluation.scores import MODES, Predict, as_predict, evaluate
from fewshot.graph.class_graph import WEIGHTS, ClassGraph
from fewshot.graph.transform import Transformed
from fewshot.methods.prototypes import prototypes
from fewshot.model.few_shot import GraphFewShot

ROUNDS = 3
INDUCTIVE, JOINT, KNOWN = MODES

# For episodes of photographs: the options, and how much each mode's accuracy counts.
PHOTOGRAPHS: list[tuple[dict, dict[str, float]]] = [
    ({"shot": 1}, {INDUCTIVE: 1, JOINT: 0.5, KNOWN: 2.5}),
    ({"shot": 5}, {INDUCTIVE: 1, JOINT: 0.5, KNOWN: 2.5}),
    ({"shot": 1, "queries": "dirichlet:2"}, {JOINT: 1}),
    ({"shot": 5, "queries": "dirichlet:2"}, {JOINT: 2}),
    ({"shot": 5, "label_noise": 0.4}, {INDUCTIVE: 3, JOINT: 4}),
    ({"shot": 1, "classes": "hard"}, {JOINT: 0.5}),
]
# Fewer for letters, which are easy: they keep the graph sound with many classes and on other features.
LETTERS: list[tuple[dict, dict[str, float]]] = [
    ({"shot": 1, "way": way, "query": 12, "episodes": episodes, **queries}, dict.fromkeys(MODES, 0.15))
    for way, episodes, queries in [(5, 60, {}), (20, 12, {}), (5, 60, {"queries": "dirichlet:2"})]
] + [({"shot": 5, "query": 12, "episodes": 40, "label_noise": 0.4}, dict.fromkeys(MODES, 0.15))]

# The first step of each scalar; vectors have one per element, 0 if it is not tuned. The weight of messages
# between classes is not tuned, since it changes accuracy little (ablation.py).
STEPS: dict[str, list[float]] = {
    "head.log_scale": [0.2],
    "exchange.log_query_weight": [0.3],
    "exchange.log_kinship": [0.3],
    "coupling.log_strength": [0.2],
    "coupling.log_floor": [0.4],
    "coupling.balance": [0.6, 0.5],
    "handicap.tightness": [0.05],
    "trust.log_scale": [0.2],
    "exchange.log_trust": [0.2],
    "trust.doubt": [0.4, 0.0],
    "trust.renewal": [1.0],
    "coupling.log_few": [0.5],
    "conv.log_sharpness": [0.4],
}
LEAST = 0.003  # points that a move must be worth
CONFIDENCES = [-1.4 + 0.1 * i for i in range(20)]  # logarithms of factors of the joint logits


@dataclass(frozen=True)
class Condition:
    """Episodes of features for the graph, the accuracy of prototypes on them, and the modes' weights."""

    episodes: list[Episode]
    plain: float
    weights: dict[str, float]

    def gains(self, graph: nn.Module) -> Iterator[tuple[float, float]]:
        """For each mode, its weight and its points above prototypes."""
        for mode, weight in self.weights.items():
            joint, known = MODES[mode]
            predict = as_predict(graph, joint=joint, know_proportions=known)
            yield weight, accuracy(predict, self.episodes) - self.plain


def calibrate(graph: ClassGraph, conditions: list[Condition]) -> None:
    """Choose the confidence of the joint modes at 1 and 5 shots; other shots follow a power law."""
    best = {}
    for shot in (1, 5):
        some = [c for c in conditions if c.episodes[0].support.shape[2] == shot]
        losses = {}
        for value in CONFIDENCES:
            graph.exchange.log_confidence.data = torch.tensor([value, 0.0])
            losses[value] = surprise(graph, some)
        best[shot] = min(losses, key=losses.__getitem__)
    graph.exchange.log_confidence.data = torch.tensor([best[1], (best[5] - best[1]) / math.log(5)])


@torch.no_grad()
def surprise(graph: nn.Module, conditions: list[Condition]) -> float:
    """Cross-entropy of the joint modes."""
    losses = []
    for condition in conditions:
        for mode in {JOINT, KNOWN} & condition.weights.keys():
            predict = as_predict(graph, joint=True, know_proportions=mode == KNOWN)
            losses += [cross_entropy(predict(e).mT, e.query_labels) for e in condition.episodes]
    return torch.stack(losses).mean().item()


@torch.no_grad()
def accuracy(predict: Predict, episodes: list[Episode]) -> float:
    hits = [(predict(e).argmax(-1) == e.query_labels).float().mean(1) for e in episodes]
    return 100 * torch.cat(hits).mean().item()


def condition(data: FeatureSet, transform: nn.Module, options: dict, weights: dict, seed: int) -> Condition:
    options = {"way": 5, "query": 15, "episodes": 300, "batch": 100, "seed": seed, **options}
    if options.get("classes") == "hard":  # near by the untransformed features
        options["similarity"] = class_cosines(data)
    episodes = list(EpisodeSampler(data, **options))
    changed = replace(data, items=transform(data.items))
    return Condition(
        list(EpisodeSampler(changed, **options)), accuracy(as_predict(prototypes), episodes), weights
    )


def class_cosines(data: FeatureSet) -> Tensor:
    means = torch.stack([data.items[data.labels == c].mean(0) for c in range(data.num_classes)])
    return torch.nn.functional.normalize(means, dim=1) @ torch.nn.functional.normalize(means, dim=1).T


def search(graph: ClassGraph, conditions: list[Condition], rounds: int) -> list[dict]:
    """Move one scalar at a time while it helps; returns the moves. Steps grow with success, else shrink."""

    def objective() -> float:
        found = [pair for condition in conditions for pair in condition.gains(graph)]
        return sum(weight * gain for weight, gain in found) / sum(weight for weight, _ in found)

    parameters = dict(graph.named_parameters())
    steps = {(name, i): s for name, sizes in STEPS.items() for i, s in enumerate(sizes) if s}
    best = objective()
    moves = [{"gain": round(best, 3)}]
    for number, (name, i) in product(range(rounds), list(steps)):
        element = parameters[name].data.view(-1)[i : i + 1]
        old = element.item()
        for sign in (1, -1):
            element.fill_(old + sign * steps[name, i])
            gain = objective()
            if gain > best + LEAST:
                best, steps[name, i] = gain, 1.2 * sign * steps[name, i]
                moves.append({"round": number, "scalar": f"{name}[{i}]", "to": round(element.item(), 3)})
                moves[-1]["gain"] = round(best, 3)
                print(moves[-1], flush=True)
                break
        else:
            element.fill_(old)
            steps[name, i] /= 2
    return moves


def scores(graph: ClassGraph, sets: dict[str, tuple[FeatureSet, nn.Module]], episodes: int) -> list[dict]:
    """Figures on the validation classes: the graph's modes, and the difference to plain prototypes."""
    rows = []
    for kind, (data, transform) in sets.items():
        for shot, queries, noise in product((1, 5), ("balanced", "dirichlet:2"), (0.0, 0.4)):
            if noise and shot == 1:
                continue
            options = {"queries": queries, "label_noise": noise}
            sampler = EpisodeSampler(data, 5, shot, 15, episodes=episodes, seed=1, **options)
            plain = evaluate(as_predict(prototypes), sampler, method="prototypes")
            for mode, (joint, known) in MODES.items():
                predict = as_predict(Transformed(transform, graph), joint=joint, know_proportions=known)
                ours = evaluate(predict, sampler, method="class-graph", mode=mode)
                difference = round(ours.accuracy - plain.accuracy, 3)
                rows.append({"features": kind, **options, **ours.row(), "over_prototypes": difference})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photographs", type=Path, required=True, help=".npz of features with splits")
    parser.add_argument("--folds", type=Path, required=True, help="folder that fold_features.py wrote")
    parser.add_argument(
        "--glyphs", type=Path, required=True, help="checkpoint of `fewshot train --config glyphs`"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    arguments = parser.parse_args()

    conditions = []
    for file in sorted(arguments.folds.glob("fold*.npz")):
        fold = open_source(file)
        conditions += [
            condition(fold.features("val"), fold.graph.transform, options, weights, arguments.seed)
            for options, weights in PHOTOGRAPHS
        ]
    model, letters = GraphFewShot.load(arguments.glyphs), load("glyphs")
    conditions += [
        condition(model.features(letters.train), model.transform, options, weights, arguments.seed)
        for options, weights in LETTERS
    ]
    graph = ClassGraph().eval()
    moves = search(graph, conditions, ROUNDS)
    calibrate(graph, conditions)
    graph.save_pretrained(arguments.out)

    photographs = open_source(arguments.photographs)
    held_out = {
        "photographs": (photographs.features("val"), photographs.graph.transform),
        "glyphs": (model.features(letters.val), model.transform),
    }
    rows = scores(graph, held_out, episodes=600)
    result = {"seed": arguments.seed, "machine": machine(), "moves": moves, "rows": rows}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "class_graph_weights.json").write_text(json.dumps(result, indent=1) + "\n")
    for row in rows:
        print({key: row[key] for key in ("features", "queries", "label_noise", "mode", "shot")}, end=" ")
        print(row["over_prototypes"])


if __name__ == "__main__":
    main()
