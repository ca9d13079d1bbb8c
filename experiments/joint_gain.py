"""What joint inference gains over inductive, by queries per class and ways, before and after.

    python experiments/joint_gain.py FEATURES.npz --graph after
    PYTHONPATH=OLD python experiments/joint_gain.py FEATURES.npz --graph before
    python experiments/joint_gain.py FEATURES.npz --picture

OLD is a checkout of 8119b79, before the weights of the joint mode were found again: ``git archive 8119b79 |
tar x -C OLD``. Only what both versions share is called: the shipped graph, the power transform, the
sampler. The classes' shares are not given. Each call keeps the other's figures; the fingerprints show that
the episodes are the same.
"""

import json
from itertools import product
from pathlib import Path
from typing import Any

import torch
from features import features_parser
from main_job import RESULTS, machine

FILE = RESULTS / "joint_gain.json"
WAYS, SHOTS, QUERIES = (2, 5, 10, 20), (1, 5), (1, 2, 3, 5, 15)
GRAPHS = ("before", "after")
NUMBERS = 4_000_000  # of the features of a batch


@torch.no_grad()
def measure(features: Path, split: str, episodes: int, seed: int) -> list[dict[str, Any]]:
    from fewshot import ClassGraph, EpisodeSampler, FeatureSet, PowerTransform

    base, data = (FeatureSet.from_npz(features, name) for name in ("train", split))
    mean = base.items.float().mean(0)
    transform = PowerTransform()
    transform.fit_if_skewed(base.items.float() - mean)
    items, graph = transform(data.items.float() - mean), ClassGraph.pretrained()
    data = FeatureSet(items, data.labels, data.class_names)
    rows = []
    for shot, way, query in product(SHOTS, WAYS, QUERIES):
        batch = max(1, NUMBERS // (way * (query + shot) * items.shape[1]))
        sampler = EpisodeSampler(
            data, way=way, shot=shot, query=query, episodes=episodes, batch=batch, seed=seed
        )
        found: dict[bool, list] = {False: [], True: []}
        for episode in sampler:
            for joint, accuracies in found.items():
                logits = graph(episode.support, episode.query, joint=joint).logits
                accuracies.append((logits.argmax(-1) == episode.query_labels).double().mean(1))
        alone, together = (100 * torch.cat(parts) for parts in found.values())
        gain = together - alone
        row = {"shot": shot, "way": way, "query": query, "inductive": alone.mean(), "joint": together.mean()}
        row |= {"gain": gain.mean(), "ci95": 1.96 * gain.std() / len(gain) ** 0.5}
        row = {name: x if isinstance(x, int) else round(x.item(), 3) for name, x in row.items()}
        rows.append({**row, "fingerprint": sampler.fingerprint()})
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = features_parser(__doc__)
    parser.set_defaults(episodes=600)
    parser.add_argument("--graph", choices=GRAPHS, default="after", help="which one PYTHONPATH leads to")
    parser.add_argument("--picture", action="store_true", help="only draw the kept figures again")
    arguments = parser.parse_args()
    kept = json.loads(FILE.read_text()) if FILE.is_file() else {}
    if not arguments.picture:
        rows = measure(arguments.features, arguments.split, arguments.episodes, arguments.seed)
        command = "python experiments/joint_gain.py FEATURES.npz"
        command += f" --split {arguments.split} --episodes {arguments.episodes} --seed {arguments.seed}"
        about = {"command": command, "episodes": arguments.episodes, "seed": arguments.seed}
        graphs = {**kept.get("graphs", {}), arguments.graph: rows}
        graphs = {name: graphs[name] for name in GRAPHS if name in graphs}
        kept = {**about, "split": arguments.split, "machine": machine(), "graphs": graphs}
        FILE.write_text(json.dumps(kept, indent=1) + "\n")
    if set(kept.get("graphs", {})) == set(GRAPHS):
        from joint_gain_picture import draw

        draw(FILE.with_suffix(".png"), kept)


if __name__ == "__main__":
    main()
