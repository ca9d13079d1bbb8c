"""What each part of the class graph is worth: the shipped weights with one part switched off at a time.

    python experiments/ablation.py FEATURES.npz --letters CHECKPOINT

scores on validation classes, of the file of photographs and of the built-in letters (encoded by the
checkpoint's backbone), paired by episode, and writes ``experiments/results/ablation.json`` and the table
``experiments/results/ablation.md``. Nothing is trained again, so a part's worth is its worth to this graph
with the others as they are. ``ablation_format1.json`` and ``.md`` are the same of the graph of checkpoint
format 1, whose suppression of spread, handicap of crowded classes and following of unequal shares are gone.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from main_job import RESULTS, machine

from fewshot.core.files import write_json
from fewshot.data import load
from fewshot.data.labelled import FeatureSet
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.inputs import open_source
from fewshot.evaluation.scores import MODES, Scores, as_predict, evaluate, paired_difference
from fewshot.graph.class_graph import ClassGraph
from fewshot.model.few_shot import GraphFewShot

OFF = -30.0  # of a logarithm or a log odds

# For each part, the scalars that switch it off.
PARTS: dict[str, dict[str, float | list[float]]] = {
    "messages between classes": {"refine.message": 0.0},
    "handicap of tight classes": {"handicap.tightness": 0.0},
    "trust in support labels": {"trust.doubt": [OFF, 0.0], "trust.renewal": OFF},
    "judging of labels in joint rounds": {"exchange.trust_few": -OFF},
    "messages from queries": {"exchange.weight": [OFF, 0.0, 0.0], "exchange.kinship": [OFF, 0.0, 0.0]},
    "kinship of queries": {"exchange.kinship": [OFF, 0.0, 0.0]},
    "balancing of unknown shares": {"coupling.balance": [OFF, 0.0, 0.0, 0.0, 0.0]},
    "sharpness by how far classes lie apart": {"sharpness.by": [0.0, 0.0]},
}

ALL = ("inductive", "joint", "joint-known")
MANY = {"way": 20, "episodes": 600}
# For each condition: options of the episodes, and the modes that are scored.
PHOTOGRAPHS: dict[str, tuple[dict, tuple[str, ...]]] = {
    "balanced 1-shot": ({"shot": 1}, ALL),
    "balanced 5-shot": ({"shot": 5}, ALL),
    "Dirichlet(2) 1-shot": ({"shot": 1, "queries": "dirichlet:2"}, ("joint",)),
    "Dirichlet(2) 5-shot": ({"shot": 5, "queries": "dirichlet:2"}, ("joint",)),
    "Dirichlet(1) 1-shot": ({"shot": 1, "queries": "dirichlet:1"}, ("joint",)),
    "40 % wrong labels 5-shot": ({"shot": 5, "label_noise": 0.4}, ("inductive", "joint")),
    "hard classes 1-shot": ({"shot": 1, "classes": "hard"}, ("inductive", "joint")),
    "hard classes 5-shot": ({"shot": 5, "classes": "hard"}, ("inductive", "joint")),
    "16-way 1-shot": ({"shot": 1, **MANY, "way": 16}, ALL),
    "16-way 5-shot": ({"shot": 5, **MANY, "way": 16}, ALL),
}
LETTERS: dict[str, tuple[dict, tuple[str, ...]]] = {
    "balanced 1-shot": ({"shot": 1}, ALL),
    "balanced 5-shot": ({"shot": 5}, ALL),
    "Dirichlet(2) 1-shot": ({"shot": 1, "queries": "dirichlet:2"}, ("joint",)),
    "40 % wrong labels 5-shot": ({"shot": 5, "label_noise": 0.4}, ("inductive", "joint")),
    "hard classes 1-shot": ({"shot": 1, "classes": "hard"}, ("inductive", "joint")),
    "20-way 1-shot": ({"shot": 1, **MANY}, ALL),
    "20-way 5-shot": ({"shot": 5, **MANY}, ALL),
    "20-way Dirichlet(2) 1-shot": ({"shot": 1, **MANY, "queries": "dirichlet:2"}, ("joint",)),
}


def without(graph: ClassGraph, part: dict[str, float | list[float]]) -> ClassGraph:
    """A copy of the graph with those scalars in place of its own."""
    copy = ClassGraph(**graph.config)
    given = {name: torch.tensor(value) for name, value in part.items()}
    copy.load_state_dict({**graph.state_dict(), **given})
    return copy.eval()


def score(graph: ClassGraph, sampler: EpisodeSampler, mode: str) -> Scores:
    joint, known = MODES[mode]
    predict = as_predict(graph, joint=joint, know_proportions=known)
    return evaluate(predict, sampler, method="class-graph", mode=mode)


def table(rows: list[dict]) -> str:
    """Points of accuracy lost without a part: a row per condition and mode, a column per part."""
    lines = ["| | | with all | " + " | ".join(f"without {part}" for part in PARTS) + " |"]
    lines.append("|---|" * 2 + "---|" * (1 + len(PARTS)))
    lost = {(row["features"], row["condition"], row["mode"], row["part"]): row for row in rows}
    for key in dict.fromkeys((row["features"], row["condition"], row["mode"]) for row in rows):
        found = [lost[*key, part] for part in PARTS]
        cells = [f"{row['change']:+.2f} ± {row['ci95']:.2f}" for row in found]
        lines.append(
            f"| {key[0]}, {key[1]} | {key[2]} | {found[0]['accuracy']:.2f} | " + " | ".join(cells) + " |"
        )
    return "\n".join(lines) + "\n"


def ablate(features: str, data: FeatureSet, conditions: dict, episodes: int, seed: int) -> Iterator[dict]:
    """A row per condition, mode and part."""
    graph = ClassGraph.pretrained()
    for condition, (options, modes) in conditions.items():
        options = {"way": 5, "query": 15, "episodes": episodes, "batch": 64, "seed": seed, **options}
        options["query"] = min(options["query"], int(data.counts.min()) - options["shot"])
        sampler = EpisodeSampler(data, **options)
        for mode in modes:
            whole = score(graph, sampler, mode)
            for part, scalars in PARTS.items():
                found = score(without(graph, scalars), sampler, mode)
                change, ci95 = (round(x, 3) for x in paired_difference(found, whole))
                row = {"features": features, "condition": condition, "part": part, **whole.row()}
                yield {**row, "change": change, "ci95": ci95}
            print(features, condition, mode, f"{whole.accuracy:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("features", type=Path)
    parser.add_argument("--letters", type=Path, required=True, help="checkpoint of `--config glyphs`")
    parser.add_argument("--episodes", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    source = open_source(arguments.features)
    photographs = source.features("val")
    photographs = replace(photographs, items=source.graph.transform(photographs.items))
    model = GraphFewShot.load(arguments.letters)
    letters = model.features(load("glyphs").val)
    letters = replace(letters, items=model.transform(letters.items))
    counts = (arguments.episodes, arguments.seed)
    rows = [
        *ablate("photographs", photographs, PHOTOGRAPHS, *counts),
        *ablate("letters", letters, LETTERS, *counts),
    ]
    command = (
        f"python experiments/ablation.py FEATURES.npz --letters CHECKPOINT --episodes {arguments.episodes}"
    )
    content = {"command": command, "split": "val", "seed": arguments.seed, "machine": machine(), "rows": rows}
    RESULTS.mkdir(exist_ok=True)
    write_json(RESULTS / "ablation.json", content)
    (RESULTS / "ablation.md").write_text(table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
