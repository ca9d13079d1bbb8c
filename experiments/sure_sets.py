"""Sets that hold the right class in 90 % of the cases: their thresholds, coverage and size.

    python experiments/fold_features.py --data miniimagenet:PATH/tiny-imagenet-fs.tar --folds 4 --out FOLDS
    python experiments/sure_sets.py FEATURES.npz --calibrate FOLDS
    python experiments/sure_sets.py FEATURES.npz --letters CHECKPOINT

``--calibrate`` writes the thresholds that come with the package, ``sure_sets.json`` next to the weights of
the class graph: FOLDS holds features of base classes by backbones that did not see them. Then coverage and
mean size are measured on the test classes: of FEATURES with these thresholds, of letters with those that
the validation classes give, as in training. They are compared with sets by the probabilities alone: the most
probable classes until these sum to 0.9. Results go to ``experiments/results/sure_sets.json``.
"""

import json
from itertools import product
from pathlib import Path

import numpy as np
from features import features_parser
from main_job import RESULTS, machine

from fewshot.core.files import replacing, write_json
from fewshot.evaluation.inputs import ScoredData, open_source
from fewshot.evaluation.sure_sets import Source, answered, calibrate, coverage
from fewshot.model.sure_sets import SHIPPED, Setting, SureSets, sure_sets

LEVEL = 0.9
WAYS, SHOTS, QUERY = (5, 20), (1, 5), 15
MODES = ("inductive", "joint")
# Of the shipped thresholds; the held-out classes of a fold are 16.
GRID = {"ways": (2, 5, 10, 16), "shots": (1, 2, 5, 10), "queries": (1, 3, 15), "answers": 6000}


def fold_sources(folder: Path, seed: int) -> list[Source]:
    sources = []
    for file in sorted(folder.glob("fold*.npz")):
        scored = open_source(file)
        relations = scored.relations("taxonomy", "val", seed)
        sources.append(Source(scored.graph, scored.features("val"), relations))
    if not sources:
        raise SystemExit(f"--calibrate: expected fold*.npz in {folder}, found none")
    return sources


def cumulative(probabilities: np.ndarray, level: float) -> np.ndarray:
    """The most probable classes until their probabilities sum to a level."""
    order = np.argsort(-probabilities, axis=1, kind="stable")
    before = np.take_along_axis(probabilities, order, 1).cumsum(1)
    before = np.concatenate([np.zeros((len(before), 1)), before[:, :-1]], 1)
    sets = np.zeros(probabilities.shape, bool)
    np.put_along_axis(sets, order, before < level, 1)
    return sets


def measure(name: str, source: Source, thresholds: SureSets, episodes: int, seed: int) -> list[dict]:
    rows = []
    told = (False, True) if source.relations is not None else (False,)
    for mode, related, way, shot in product(MODES, told, WAYS, SHOTS):
        query = min(QUERY, int(source.data.counts.min()) - shot)
        setting = Setting(mode, related, way, shot, query)
        parts = list(answered(source, setting, episodes, seed))
        p, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
        chosen = p.argmax(1)
        row = {"features": name, **setting._asdict(), "queries": len(p)}
        row["accuracy"] = round(100 * float((chosen == labels).mean()), 2)
        made = {"sets": sure_sets(p, thresholds.threshold(LEVEL, setting), chosen)}
        made["cumulative"] = cumulative(p, LEVEL)
        for kind, sets in made.items():
            held, size = coverage(sets, labels)
            row |= {f"{kind}_coverage": round(100 * held, 2), f"{kind}_size": round(size, 3)}
        rows.append(row)
        print(row, flush=True)
    return rows


def own_source(scored: ScoredData, split: str, seed: int, related: bool) -> Source:
    return Source(
        scored.graph,
        scored.features(split),
        scored.relations("taxonomy", split, seed) if related else None,
    )


def main() -> None:
    parser = features_parser(__doc__)
    parser.set_defaults(episodes=600)
    parser.add_argument("--calibrate", type=Path, help="folds, of which the shipped thresholds are written")
    parser.add_argument("--letters", type=Path, help="a checkpoint of --config glyphs")
    parser.add_argument("--out", type=Path, default=RESULTS / "sure_sets.json")
    given = parser.parse_args()
    if given.calibrate is not None:
        found = calibrate(fold_sources(given.calibrate, given.seed), seed=given.seed, **GRID)
        assert found is not None
        with replacing(SHIPPED) as file:
            file.write_text(json.dumps(found.content()) + "\n")
        return
    photographs = own_source(open_source(given.features), given.split, given.seed, related=True)
    rows = measure("photographs", photographs, SureSets.shipped(), given.episodes, given.seed)
    if given.letters is not None:
        scored = open_source(given.letters)
        thresholds = calibrate([own_source(scored, "val", given.seed, related=False)], seed=given.seed)
        assert thresholds is not None
        letters = own_source(scored, given.split, given.seed, related=False)
        rows += measure("letters", letters, thresholds, given.episodes, given.seed)
    command = "python experiments/sure_sets.py FEATURES.npz" + (
        " --letters CHECKPOINT" if given.letters else ""
    )
    command += f" --split {given.split} --episodes {given.episodes} --seed {given.seed}"
    about = {"command": command, "split": given.split, "episodes": given.episodes, "seed": given.seed}
    write_json(given.out, {**about, "level": LEVEL, "query": QUERY, "machine": machine(), "rows": rows})


if __name__ == "__main__":
    main()
