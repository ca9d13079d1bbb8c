"""The usual scale of the prototypes method, fitted on held-out classes, and how well it is calibrated.

    python experiments/fold_features.py --data miniimagenet:PATH/tiny-imagenet-fs.tar --folds 4 --out FOLDS
    python experiments/prototype_scale.py FEATURES.npz --folds FOLDS --letters CHECKPOINT

FOLDS holds features of base classes by backbones that did not see them. The scale goes to
``experiments/results/prototype_scale.json``; a test checks that ``fewshot.methods.prototypes.Scale`` has it.
The calibration error is measured with a scale of 10, with the usual one, which files of features have, and
with the one that is fitted on the validation classes, which checkpoints have.
"""

from itertools import product
from pathlib import Path

from features import features_parser
from main_job import RESULTS, machine

from fewshot.core.files import write_json
from fewshot.evaluation.inputs import ScoredData, open_source
from fewshot.evaluation.prototype_scale import fit_scale
from fewshot.evaluation.scores import as_predict, evaluate
from fewshot.methods.prototypes import SCALE, Scale, prototypes

WAYS, SHOTS = (5, 20), (1, 5)


def rows(name: str, source: ScoredData, split: str, scales: dict, episodes: int, seed: int) -> list[dict]:
    """The calibration error with each scale, by ways and shots."""
    found = []
    for way, shot in product(WAYS, SHOTS):
        sampler = source.sampler(split, way=way, shot=shot, episodes=episodes, seed=seed)
        cell = {"features": name, "way": way, "shot": shot}
        for title, scale in scales.items():

            def scaled(support, query, scale=scale, **options):
                return prototypes(support, query, scale=scale, **options)

            scores = evaluate(as_predict(scaled), sampler, method="prototypes")
            cell |= {title: round(scores.ece, 4), "accuracy": round(scores.accuracy, 2)}
        found.append({**cell, "fingerprint": scores.fingerprint})
        print(found[-1], flush=True)
    return found


def main() -> None:
    parser = features_parser(__doc__)
    parser.set_defaults(episodes=600)
    parser.add_argument("--folds", type=Path, required=True, help="folder that fold_features.py wrote")
    parser.add_argument("--letters", type=Path, required=True, help="a checkpoint of --config glyphs")
    parser.add_argument("--out", type=Path, default=RESULTS / "prototype_scale.json")
    given = parser.parse_args()
    files = sorted(given.folds.glob("fold*.npz"))
    usual = fit_scale([open_source(file).features("val") for file in files], seed=given.seed)
    assert usual is not None
    measured = []
    for name, path in (("photographs", given.features), ("letters", given.letters)):
        source = open_source(path)
        own = fit_scale([source.features("val")], seed=given.seed)
        print(name, own, flush=True)
        scales: dict[str, Scale | float] = {"ten": SCALE, "usual": usual, "validation": own}
        measured += rows(name, source, given.split, scales, given.episodes, given.seed)
    write_json(
        given.out,
        {
            "command": "python experiments/prototype_scale.py FEATURES.npz --folds FOLDS --letters CHECKPOINT"
            f" --split {given.split} --episodes {given.episodes} --seed {given.seed}",
            "folds": len(files),
            "scale": usual._asdict(),
            "split": given.split,
            "episodes": given.episodes,
            "seed": given.seed,
            "machine": machine(),
            "rows": measured,
        },
    )
    print(usual)


if __name__ == "__main__":
    main()
