"""When joint inference hurts: joint minus inductive accuracy of the class graph, in many kinds of episodes.

    python experiments/joint_harm.py FEATURES.npz

First balanced queries, by ways, shots and queries per class, the shares not given (*joint*) or given
(*joint-known*). Then 5-way episodes with 15 queries per class whose shares are unequal, are given wrongly
(equal ones, where they are not), or whose queries are in part of other classes (which are not counted).
Differences are paired by episode. Writes ``experiments/results/joint_harm.json``; ``tables.py`` puts them
into ``docs/protocols.md``.
"""

import json
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import torch
from features import features_parser
from main_job import RESULTS, machine
from torch import Tensor

from fewshot.episodes.episode import Episode
from fewshot.evaluation.inputs import open_source
from fewshot.evaluation.scores import Scores, evaluate, in_mode, paired_difference

WAYS, SHOTS, QUERIES = (5, 20), (1, 5), (1, 2, 3, 5, 15)


MODES = ("inductive", "joint", "joint-known")
CONDITIONS: dict[str, dict] = {
    "unequal shares, Dirichlet(2)": {"queries": "dirichlet:2"},
    "very unequal shares, Dirichlet(0.5)": {"queries": "dirichlet:0.5"},
    "half of the queries of other classes": {"unknown": 5},
}


def equal_shares(graph: Callable[..., Any]) -> Callable[[Episode], Tensor]:
    """The class graph, given equal shares whatever they are."""

    def predict(episode: Episode) -> Tensor:
        b, n = episode.classes.shape
        return graph(episode.support, episode.query, joint=True, proportions=torch.full((b, n), 1 / n)).logits

    return predict


def differences(scores: dict[str, Scores]) -> dict[str, Any]:
    """Each mode's accuracy and its difference from inductive."""
    found: dict[str, Any] = {"fingerprint": scores["inductive"].fingerprint}
    for mode, one in scores.items():
        above, half = paired_difference(one, scores["inductive"])
        found[mode] = {"accuracy": round(one.accuracy, 2), "above": round(above, 2), "ci95": round(half, 2)}
    return found


def main() -> None:
    options = features_parser(__doc__).parse_args()
    source = open_source(options.features)
    given = {"episodes": options.episodes, "seed": options.seed}

    def score(shape: dict[str, Any], modes: Sequence[str] = MODES) -> dict[str, Scores]:
        sampler = source.sampler(options.split, **shape, **given)
        found = {
            mode: evaluate(in_mode(source.graph, mode), sampler, method="class-graph", mode=mode)
            for mode in modes
        }
        if "queries" in shape:
            predict = equal_shares(source.graph)
            found["equal shares given"] = evaluate(predict, sampler, method="class-graph")
        return found

    rows = []
    for way, shot, query in product(WAYS, SHOTS, QUERIES):
        shape = {"way": way, "shot": shot, "query": query}
        rows.append({**shape, **differences(score(shape))})
        print(rows[-1], flush=True)
    further = []
    for (condition, more), shot in product(CONDITIONS.items(), SHOTS):
        modes = MODES[:2] if "unknown" in more else MODES
        found = score({"way": 5, "shot": shot, "query": 15, **more}, modes)
        further.append({"condition": condition, "shot": shot, **differences(found)})
        print(further[-1], flush=True)
    used = {"split": options.split, **given}
    content = {"options": used, "machine": machine(), "rows": rows, "conditions": further}
    (RESULTS / "joint_harm.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
