"""What to subtract from features where there are no base classes: five answers, next to the base mean.

    python experiments/base_mean.py FEATURES.npz

Features of one resnet12 on photographs, of which the classes of ``--split`` are scored, 15 queries per class;
all answers score the same episodes. The second set is the same features plus one constant vector, as networks
have whose features all point the same way. Differences from "nothing subtracted" are paired by episode. The
unlabelled pool is all images of other classes than those scored (the validation classes, or with ``--split
val`` the test classes), or all images of the scored classes, as when a collection to label is there. What was
written about it was chosen on the validation classes; the test classes were scored once. Writes
``experiments/results/base_mean.json`` and ``base_mean.md``.
"""

import json
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace

import torch
from features import features_parser
from main_job import RESULTS, machine
from torch import Tensor

from fewshot import ClassGraph, FeatureSet
from fewshot.episodes.episode import Episode
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.scores import evaluate, paired_difference
from fewshot.graph.vectors import normalize
from fewshot.methods.prototypes import prototypes

Centre = Callable[[Tensor, Tensor], Tensor | float]  # from supports [B, N, K, D], queries [B, M, D] to a mean
SHAPES = {"5-way 1-shot": (5, 1), "5-way 5-shot": (5, 5), "16-way 1-shot": (16, 1), "16-way 5-shot": (16, 5)}
ALIKE = 0.8  # mean cosine of two images after a common vector is added
GRAPH = ClassGraph.pretrained()
METHODS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "prototypes": prototypes,
    "class graph": lambda support, query: GRAPH(support, query).logits,
    "class graph, joint": lambda support, query: GRAPH(support, query, joint=True).logits,
}


def of_supports(support: Tensor, query: Tensor) -> Tensor:
    """The mean of all supports, so that no class weighs more than another."""
    return support.mean((1, 2))[:, None]


def of_both(support: Tensor, query: Tensor) -> Tensor:
    """The mean of supports and queries: a joint method, whatever comes after it."""
    images = torch.cat([support.flatten(1, 2), query], 1)
    return images.mean(1, keepdim=True)


def centres(sets: dict[str, FeatureSet], split: str) -> dict[str, Centre]:
    """What may be subtracted, by its name."""
    other = {"test": "val", "val": "test"}[split]
    means = {name: data.features.mean(0) for name, data in sets.items()}
    return {
        "nothing": lambda support, query: 0.0,
        "mean of the supports": of_supports,
        "mean of supports and queries (joint)": of_both,
        "mean of an unlabelled pool, other classes": lambda support, query: means[other],
        "mean of an unlabelled pool, the same classes": lambda support, query: means[split],
        "mean of the base classes": lambda support, query: means["train"],
    }


def predictor(method: Callable[[Tensor, Tensor], Tensor], centre: Centre) -> Callable[[Episode], Tensor]:
    def predict(episode: Episode) -> Tensor:
        mean = centre(episode.support, episode.query)
        shift = mean[:, None] if isinstance(mean, Tensor) and mean.dim() == 3 else mean
        return method(episode.support - shift, episode.query - mean)

    return predict


def main() -> None:
    options = features_parser(__doc__).parse_args()
    sets = {name: FeatureSet.from_npz(options.features, name) for name in ("train", "val", "test")}
    cosine = mean_cosine(sets["train"].features)
    print(f"mean cosine of two images: {cosine:.2f}")
    rows = scored(sets, f"as they are (mean cosine {cosine:.2f})", options)
    rows += scored(shifted(sets), f"with a common direction (mean cosine {ALIKE})", options)
    used = {"split": options.split, "episodes": options.episodes, "seed": options.seed}
    content = {"options": used, "machine": machine(), "rows": rows}
    name = "base_mean" if options.split == "test" else f"base_mean_{options.split}"
    (RESULTS / f"{name}.json").write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n")
    (RESULTS / f"{name}.md").write_text(table(rows))


def mean_cosine(features: Tensor) -> float:
    """Of two images, on average: the squared length of the mean of the unit vectors."""
    return normalize(features).mean(0).square().sum().item()


def shifted(sets: dict[str, FeatureSet]) -> dict[str, FeatureSet]:
    """The same features plus one vector, so long that two images have a cosine of `ALIKE` on average."""
    base = sets["train"].features
    generator = torch.Generator().manual_seed(0)
    direction = normalize(torch.randn(base.shape[1], generator=generator)) * base.norm(dim=1).mean()
    low, high = 0.0, 100.0
    for _ in range(30):
        length = (low + high) / 2
        low, high = (length, high) if mean_cosine(base + length * direction) < ALIKE else (low, length)
    return {name: replace(data, items=data.items + length * direction) for name, data in sets.items()}


def scored(sets: dict[str, FeatureSet], kind: str, options: Namespace) -> list[dict]:
    """A row per kind of episodes, method and thing subtracted."""
    rows = []
    for shape, (way, shot) in SHAPES.items():
        sampler = EpisodeSampler(
            sets[options.split], way=way, shot=shot, query=15, episodes=options.episodes, seed=options.seed
        )
        for name, method in METHODS.items():
            first = None
            for label, centre in centres(sets, options.split).items():
                scores = evaluate(predictor(method, centre), sampler, method=name)
                first = first or scores
                above, half = paired_difference(scores, first)
                rows.append(
                    {"features": kind, "drawn": shape, "subtracted": label, **scores.row()}
                    | {"above": round(above, 2), "above_ci95": round(half, 2)}
                )
                print(
                    kind, shape, name, label, f"{scores.accuracy:.2f} {above:+.2f} ± {half:.2f}", flush=True
                )
    return rows


def table(rows: list[dict]) -> str:
    """A row per features, method and thing subtracted; a column per kind of episodes."""
    columns = list(dict.fromkeys(row["drawn"] for row in rows))
    lines = [f"| features | method | subtracted | {' | '.join(columns)} |", "|---" * (len(columns) + 3) + "|"]
    for key in dict.fromkeys((row["features"], row["method"], row["subtracted"]) for row in rows):
        found = {r["drawn"]: r for r in rows if (r["features"], r["method"], r["subtracted"]) == key}
        cells = [
            f"{r['accuracy']:.1f}"
            + ("" if r["subtracted"] == "nothing" else f" ({r['above']:+.1f} ± {r['above_ci95']:.1f})")
            for r in (found[column] for column in columns)
        ]
        lines.append(f"| {' | '.join(key)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
