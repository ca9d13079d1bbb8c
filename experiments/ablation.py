"""What each part of the class graph is worth: the shipped weights with one part switched off at a time.

    python experiments/ablation.py FEATURES.npz

scores on the validation classes of the file, paired by episode, and writes
``experiments/results/ablation.json`` and the table ``experiments/results/ablation.md``. Nothing is trained
again, so that a part's worth is that to this graph, others being as they are.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from main_job import RESULTS, machine

from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.inputs import open_source
from fewshot.evaluation.scores import MODES, Scores, as_predict, evaluate, paired_difference
from fewshot.graph.class_graph import ClassGraph

OFF = -30.0  # of a logarithm or a log odds

# Of each part the scalars that switch it off.
PARTS: dict[str, dict[str, float | list[float]]] = {
    "messages between classes": {"message": 0.0},
    "handicap of crowded classes (edges)": {"crowding": 0.0},
    "handicap of tight classes": {"tightness": 0.0},
    "trust in support labels": {"doubt": [OFF, 0.0], "renewal": OFF},
    "judging of labels in joint rounds": {"log_trust_joint": OFF},
    "messages from queries": {"log_query_weight": OFF, "log_kinship": OFF},
    "kinship of queries": {"log_kinship": OFF},
    "suppression of spread": {"log_suppression": OFF},
    "coupling of class masses": {
        "log_coupling": OFF,
        "balance": [OFF, 0.0, 0.0, 0.0],
        "follow": [0.0, 0.0, 0.0, 0.0],
    },
    "following unequal masses": {"follow": [0.0, 0.0, 0.0, 0.0]},
}

# Of each condition the episodes, and the modes that are looked at.
CONDITIONS: dict[str, tuple[dict, tuple[str, ...]]] = {
    "balanced 1-shot": ({"shot": 1}, ("inductive", "joint", "joint-known")),
    "balanced 5-shot": ({"shot": 5}, ("inductive", "joint", "joint-known")),
    "Dirichlet(2) 1-shot": ({"shot": 1, "queries": "dirichlet:2"}, ("joint",)),
    "Dirichlet(2) 5-shot": ({"shot": 5, "queries": "dirichlet:2"}, ("joint",)),
    "40 % wrong labels 5-shot": ({"shot": 5, "label_noise": 0.4}, ("inductive", "joint")),
    "hard classes 1-shot": ({"shot": 1, "classes": "hard"}, ("inductive", "joint")),
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
    """Points of accuracy lost without a part; one row a part, one column a condition and mode."""
    columns = list(dict.fromkeys((row["condition"], row["mode"]) for row in rows))
    lost = {(row["part"], row["condition"], row["mode"]): row for row in rows}
    lines = ["| without | " + " | ".join(f"{condition}, {mode}" for condition, mode in columns) + " |"]
    lines.append("|---|" + "---|" * len(columns))
    for part in PARTS:
        cells = (lost[part, *column] for column in columns)
        lines.append(
            f"| {part} | " + " | ".join(f"{c['change']:+.2f} ± {c['ci95']:.2f}" for c in cells) + " |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("features", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    source = open_source(arguments.features)
    data = source.features(arguments.split)
    data = replace(data, items=source.graph.transform(data.items))
    graph, rows = ClassGraph.pretrained(), []
    changed: Callable[[Scores, Scores], dict] = lambda scores, whole: dict(  # noqa: E731
        zip(("change", "ci95"), (round(x, 3) for x in paired_difference(scores, whole)), strict=True)
    )
    for condition, (options, modes) in CONDITIONS.items():
        sampler = EpisodeSampler(
            data, 5, query=15, episodes=arguments.episodes, batch=64, seed=arguments.seed, **options
        )
        for mode in modes:
            whole = score(graph, sampler, mode)
            for part, scalars in PARTS.items():
                change = changed(score(without(graph, scalars), sampler, mode), whole)
                rows.append({"part": part, "condition": condition, **whole.row(), **change})
            print(condition, mode, f"{whole.accuracy:.2f}", flush=True)
    content = {
        "command": f"python experiments/ablation.py FEATURES.npz --episodes {arguments.episodes}",
        "split": arguments.split,
        "seed": arguments.seed,
        "machine": machine(),
        "rows": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "ablation.json").write_text(json.dumps(content, indent=1) + "\n")
    (RESULTS / "ablation.md").write_text(table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
