"""Train the class graph's weights that ship with the package.

    python experiments/fold_features.py --data miniimagenet:PATH/tiny-imagenet-fs.tar --out FOLDS
    python experiments/class_graph_weights.py --folds FOLDS --photographs FEATURES.npz --glyphs CHECKPOINT

FOLDS holds features of base classes by backbones that did not see them, so that they are spread as those of
new classes are; the checkpoint's backbone encodes the built-in letters' train split. A third kind are
made-up features, Gaussian clusters of several sizes and spreads, so that the graph is sound on features it
never saw. The steps go round the kinds, and within each round ways, shots, query shares and label noise. The
weights that are best on the validation classes, of FEATURES.npz and of the letters, are written to
``fewshot/weights/class_graph``, the figures to ``experiments/results/class_graph_weights.json``. No test
split is read.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, product
from pathlib import Path

import torch
from lightning.fabric import Fabric
from main_job import RESULTS, machine
from silent import Silent

from fewshot.config import Config, Graph
from fewshot.data import FeatureSet, load
from fewshot.episodes import EpisodeSampler
from fewshot.evaluation import as_predict, evaluate
from fewshot.graph import WEIGHTS, ClassGraph
from fewshot.loop import Batch, Stage, fit
from fewshot.methods.prototypes import prototypes
from fewshot.model import GraphFewShot
from fewshot.stages import MODES, GraphLoss, graph_samplers
from fewshot.stages import seed as mix

STEPS, EVERY, RATE, BATCH = 160, 40, 2e-3, 24
CONDITIONS = Graph(ways=(5, 10), shots=(1, 5), query=12, noise=(0.0, 0.0, 0.4), batch=BATCH)


def photographs(path: Path) -> FeatureSet:
    """The validation classes of a features file, minus the mean of its base classes."""
    val = FeatureSet.from_npz(path, "val")
    return replace(val, items=val.items - FeatureSet.from_npz(path, "train").mean())


def glyphs(checkpoint: Path) -> tuple[FeatureSet, FeatureSet]:
    model, data = GraphFewShot.load(checkpoint), load("glyphs")
    return model.features(data.train), model.features(data.val)  # minus the base mean already


def clusters(features: int, spread: float, seed: int) -> FeatureSet:
    """60 classes of 200 points around random centres; ``spread`` is the noise's size beside the centres'."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(60, 1, features, generator=generator)
    points = centres + spread * torch.randn(60, 200, features, generator=generator)
    return FeatureSet(
        points.flatten(0, 1), torch.arange(60).repeat_interleave(200), tuple(map(str, range(60)))
    )


def fitting(conditions: Graph, data: FeatureSet) -> Graph:
    """Shots and queries that the smallest class can serve."""
    least = int(data.counts.min())
    shots = tuple(s for s in conditions.shots if s + conditions.query <= least)
    return replace(conditions, shots=shots)


def batches(kinds: list[list[FeatureSet]], seed: int) -> Iterator[Batch]:
    """Batches of one kind after the other, each kind's conditions in an order of their own."""
    streams = []
    for number, kind in enumerate(kinds):
        samplers: list[EpisodeSampler] = []
        for data in kind:
            samplers += graph_samplers(Config(seed=mix(seed, number), graph=fitting(CONDITIONS, data)), data)
        generator = torch.Generator().manual_seed(mix(seed, number))
        order = torch.randperm(len(samplers), generator=generator).tolist()
        streams.append(cycle([iter(samplers[i]) for i in order]))
    for stream in cycle(streams):
        episode = next(next(stream))
        yield episode.support, episode.query, episode.query_labels, episode.proportions


def scores(graph: ClassGraph, sets: dict[str, FeatureSet], episodes: int = 600) -> list[dict]:
    """Figures on the validation classes: the graph's modes, and the difference to plain prototypes."""
    rows = []
    for kind, data in sets.items():
        for shot, queries, noise in product((1, 5), ("balanced", "dirichlet:2"), (0.0, 0.4)):
            if noise and shot == 1:
                continue
            sampler = EpisodeSampler(
                data, 5, shot, 15, episodes=episodes, seed=1, queries=queries, label_noise=noise
            )
            plain = evaluate(as_predict(prototypes), sampler, method="prototypes")
            for mode, (joint, known) in MODES.items():
                ours = evaluate(
                    as_predict(graph, joint=joint, know_proportions=known),
                    sampler,
                    method="class-graph",
                    mode=mode,
                )
                condition = {"features": kind, "queries": queries, "label_noise": noise}
                difference = round(ours.accuracy - plain.accuracy, 3)
                rows.append({**condition, **ours.row(), "over_prototypes": difference})
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

    letters, held_out_letters = glyphs(arguments.glyphs)
    unseen = [photographs(file) for file in sorted(arguments.folds.glob("fold*.npz"))]
    made_up = [clusters(d, spread, d) for d in (32, 64, 256) for spread in (1.5, 3.0)]
    kinds = [[data] for data in unseen] + [[letters], made_up]
    held_out = {"photographs": photographs(arguments.photographs), "glyphs": held_out_letters}
    graph = ClassGraph()
    loss = GraphLoss(graph)

    def validate() -> dict[str, float]:
        """Points above prototypes, averaged over kinds, modes and conditions."""
        gains = [row["over_prototypes"] for row in scores(graph, held_out, episodes=200)]
        return {"val_accuracy": sum(gains) / len(gains)}

    stage = Stage(
        name="graph",
        module=loss,
        batches=lambda start: batches(kinds, arguments.seed),
        steps=STEPS,
        optimizer=torch.optim.AdamW(loss.parameters(), RATE, weight_decay=0.0),
        warmup=0.15,
        validate=validate,
        validate_every=EVERY,
        rate=(BATCH, "episodes"),
    )
    fit(stage, Fabric(devices=1, accelerator="cpu"), Silent())
    graph.eval().save_pretrained(arguments.out)
    rows = scores(graph, held_out)
    result = {"seed": arguments.seed, "steps": STEPS, "machine": machine(), "rows": rows}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "class_graph_weights.json").write_text(json.dumps(result, indent=1) + "\n")
    for row in rows:
        print(
            {
                key: row[key]
                for key in ("features", "queries", "label_noise", "mode", "shot", "over_prototypes")
            }
        )


if __name__ == "__main__":
    main()
