"""Is it worth throwing supports away so that classes have equally many? No.

    python experiments/unequal_supports.py FEATURES.npz

5-way episodes whose classes have 1, 2, 5, 10 and 20 supports, with 15 queries per class; each class keeps at
most so many. Differences from keeping all are paired by episode. Writes
``experiments/results/unequal_supports.json``.
"""

import json

import torch
from features import features_parser
from main_job import RESULTS, machine

from fewshot.evaluation.inputs import open_source
from fewshot.evaluation.scores import interval95
from fewshot.methods.prototypes import prototypes

SUPPORTS, MOST = torch.tensor([1, 2, 5, 10, 20]), (20, 10, 5, 2, 1)


@torch.no_grad()
def main() -> None:
    options = features_parser(__doc__).parse_args()
    source = open_source(options.features)
    graph = source.graph
    methods = {
        "prototypes": prototypes,
        "class graph": lambda *given, **masks: graph(*given, **masks).logits,
        "class graph, joint": lambda *given, **masks: graph(*given, joint=True, **masks).logits,
    }
    shape = {"way": 5, "shot": 20, "query": 15, "batch": 50}
    sampler = source.sampler(options.split, **shape, episodes=options.episodes, seed=options.seed)
    found: dict[tuple[str, int], list[torch.Tensor]] = {}
    for episode in sampler:
        for most in MOST:
            mask = torch.arange(20) < SUPPORTS.clamp(max=most)[:, None]
            mask = mask.repeat(len(episode.query), 1, 1)
            for name, method in methods.items():
                right = method(episode.support, episode.query, support_mask=mask).argmax(-1)
                right = (right == episode.query_labels).double().mean(1)
                found.setdefault((name, most), []).append(100 * right)
    rows = []
    for name in methods:
        every = torch.cat(found[name, MOST[0]])
        for most in MOST:
            own = torch.cat(found[name, most])
            above, half = interval95(own - every)
            row = {"method": name, "most": most, "accuracy": round(own.mean().item(), 2)}
            rows.append({**row, "above": round(above, 2), "ci95": round(half, 2)})
            print(rows[-1], flush=True)
    used = {"split": options.split, "episodes": options.episodes, "seed": options.seed}
    content = {"options": used, "machine": machine(), "rows": rows, "fingerprint": sampler.fingerprint()}
    (RESULTS / "unequal_supports.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
