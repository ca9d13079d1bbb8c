"""Ways to transform features before prototypes, by statistics of the base classes.

    python experiments/transforms.py FEATURES.npz FOLDS/fold0.npz FOLDS/fold1.npz

It measures points above prototypes on untransformed features (minus the base mean), inductive, 5-way, on the
"val" classes of each file, paired by episode; ``fold_features.py`` writes the folds.
`fewshot.graph.transform` has the transform that was chosen by these figures. Writes
``experiments/results/transforms.json`` and ``transforms.md``.
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
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.scores import Scores, as_predict, evaluate, paired_difference
from fewshot.graph.transform import PowerTransform, signed_power, skewness
from fewshot.graph.vectors import normalize
from fewshot.methods.prototypes import prototypes

Map = Callable[[Tensor], Tensor]


def centred(base: Tensor, change: Map) -> Map:
    """A transform, then minus the mean of the transformed base features."""
    mean = change(base).mean(0)
    return lambda x: change(x) - mean


def gaussianised(base: Tensor) -> Map:
    """Each channel's rank among the base images, as a normal deviate times the root of its spread."""
    ordered = base[::8].sort(0).values.T.contiguous()
    spread, count = base.std(0).sqrt(), ordered.shape[1]

    def change(x: Tensor) -> Tensor:
        rank = torch.searchsorted(ordered, x.T.contiguous()).T
        return torch.special.ndtri(((rank + 0.5) / (count + 1)).clamp(1e-4, 1 - 1e-4)) * spread

    return change


def rotated(base: Tensor) -> tuple[Tensor, Map]:
    """The base features in rotated axes, and the map into these."""
    generator = torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(base.shape[1], base.shape[1], generator=generator)).Q
    return base @ axes, lambda x: x @ axes


def transforms(base: Tensor) -> dict[str, Map]:
    low = base[::8].quantile(0.01, 0)
    turned, turn = rotated(base)
    turned_root = PowerTransform().fit(turned)
    return {
        "layer norm (minus the mean over channels)": lambda x: x - x.mean(1, keepdim=True),
        "unit length before the mean is taken off": centred(base, normalize),
        "channels divided by their spread": lambda x: x / base.std(0),
        "signed power 0.7 of centred features": lambda x: signed_power(x, 0.7),
        "normal deviates of ranks": gaussianised(base),
        "power 0.7 above the floor": centred(base, lambda x: normalize(signed_power(x - low, 0.7))),
        "power 0.3 above the floor": centred(base, lambda x: normalize(signed_power(x - low, 0.3))),
        "root above the floor, no unit length": centred(base, lambda x: signed_power(x - low, 0.5)),
        "root above the floor (chosen)": PowerTransform().fit(base),
        "the chosen one in rotated axes": lambda x: turned_root(turn(x)),
    }


def score(val: FeatureSet, items: Tensor, shot: int, options: argparse.Namespace, name: str) -> Scores:
    data = replace(val, items=items)
    sampler = EpisodeSampler(data, 5, shot, 15, episodes=options.episodes, seed=options.seed)
    return evaluate(as_predict(prototypes), sampler, method=name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("features", type=Path, nargs="+")
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rows: list[dict] = []
    for file in arguments.features:
        train, val = FeatureSet.from_npz(file, "train"), FeatureSet.from_npz(file, "val")
        base, mean = train.items - train.mean(), train.mean()
        items = val.items - mean
        maps = transforms(base)
        for shot in (1, 5):
            plain = score(val, items, shot, arguments, "plain")
            about = {"file": file.stem, "skewness": round(skewness(base).item(), 2)}
            rows.append({**about, **plain.row(), "gain": 0.0, "gain_ci95": 0.0})
            for name, change in maps.items():
                scores = score(val, change(items), shot, arguments, name)
                gain, ci95 = paired_difference(scores, plain)
                rows.append({**about, **scores.row(), "gain": round(gain, 3), "gain_ci95": round(ci95, 3)})
    columns = list(dict.fromkeys((row["file"], row["shot"]) for row in rows))
    found = {(row["method"], row["file"], row["shot"]): row for row in rows}
    lines = ["| transform | " + " | ".join(f"{file}, {shot}-shot" for file, shot in columns) + " |"]
    lines.append("|---|" + "---|" * len(columns))
    for name in dict.fromkeys(row["method"] for row in rows):
        cells = (found[name, *column] for column in columns)
        texts = (
            f"{c['accuracy']:.2f}" if name == "plain" else f"{c['gain']:+.2f} ± {c['gain_ci95']:.2f}"
            for c in cells
        )
        lines.append(f"| {name} | " + " | ".join(texts) + " |")
    content = {"split": "val", "seed": arguments.seed, "machine": machine(), "rows": rows}
    (RESULTS / "transforms.json").write_text(json.dumps(content, indent=1) + "\n")
    (RESULTS / "transforms.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
