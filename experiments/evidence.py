"""What evidence is worth: half of 20 classes are absent; the graph is given that, or they are masked later.

    python experiments/evidence.py FEATURES.npz

scores 20-way 1-shot episodes of the test classes, joint, and writes ``experiments/results/evidence.json``.
"""

import argparse
import json
import math
from pathlib import Path

import torch
from main_job import RESULTS, machine
from torch import nn

from fewshot.data.labelled import FeatureSet
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.inputs import open_source


def evidence_rows(graph: nn.Module, data: FeatureSet, episodes: int, seed: int) -> list[dict]:
    """20-way 1-shot with half of the classes absent: given as evidence, masked afterwards, or unknown."""
    sampler = EpisodeSampler(data, min(20, data.num_classes), 1, 15, episodes=episodes, batch=32, seed=seed)
    found: dict[str, list[torch.Tensor]] = {"evidence": [], "masked afterwards": [], "no evidence": []}
    with torch.no_grad():
        for episode in sampler:
            way = episode.classes.shape[1]
            here = episode.query_labels < way // 2  # labels are in random order, so any half will do
            evidence = (torch.arange(way) < way // 2).float().expand(len(here), way)
            known = {"joint": True, "query_mask": here}
            plain = graph(episode.support, episode.query, **known).logits
            logits = {
                "evidence": graph(episode.support, episode.query, evidence=evidence, **known).logits,
                "masked afterwards": plain.masked_fill(evidence[:, None] == 0, -math.inf),
                "no evidence": plain,
            }
            for name, values in logits.items():
                hits = (values.argmax(-1) == episode.query_labels) & here
                found[name].append(100 * hits.sum(1) / here.sum(1))
    accuracy = {name: torch.cat(values) for name, values in found.items()}
    gain = accuracy["evidence"] - accuracy["masked afterwards"]
    return [
        {
            "condition": f"{sampler.way}-way 1-shot, half of the classes absent, joint",
            **{name: round(values.mean().item(), 2) for name, values in accuracy.items()},
            "gain": round(gain.mean().item(), 2),
            "ci95": round(1.96 * gain.std().item() / len(gain) ** 0.5, 2),
            "episodes": len(gain),
            "fingerprint": sampler.fingerprint(),
        }
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("features", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--episodes", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    source = open_source(arguments.features)
    data = source.features(arguments.split)
    rows = evidence_rows(source.graph, data, arguments.episodes, arguments.seed)
    content = {"split": arguments.split, "seed": arguments.seed, "machine": machine(), "rows": rows}
    (RESULTS / "evidence.json").write_text(json.dumps(content, indent=1) + "\n")
    print(rows)


if __name__ == "__main__":
    main()
