"""The class graph compared with the field's methods, on the same episodes of a file of features.

    python experiments/rivals.py FEATURES.npz

writes ``experiments/results/rivals.json``, the tables ``rivals.md`` and a picture. Test classes are scored,
with the shipped weights; nothing is chosen by them. ``--table`` prints the tables of the kept figures;
``tables.py`` puts their summary into the documentation.
"""

import argparse
import json
from pathlib import Path

from main_job import RESULTS, machine

from fewshot.evaluation.compare import choose, compare
from fewshot.evaluation.inputs import open_source
from fewshot.methods.catalogue import METHODS
from fewshot.report.comparison_chart import save_comparison

# For each condition, the options of its episodes.
CONDITIONS: dict[str, dict] = {
    "balanced 1-shot": {"shot": 1},
    "balanced 5-shot": {"shot": 5},
    "Dirichlet(2) 1-shot": {"shot": 1, "queries": "dirichlet:2"},
    "Dirichlet(2) 5-shot": {"shot": 5, "queries": "dirichlet:2"},
    "40 % wrong labels 5-shot": {"shot": 5, "label_noise": 0.4},
    "hard classes 1-shot": {"shot": 1, "classes": "hard"},
}
TRAINED = ("balanced 1-shot", "balanced 5-shot")  # with methods that learn from base features
ORDER = {method.name: place for place, method in enumerate(METHODS)}
OURS = ",transformed,class-graph"
FEW = {  # the methods of the other conditions: those that the condition is about
    "Dirichlet(2) 1-shot": "prototypes,bd-cspn,laplacian-shot,label-propagation,alpha-tim,pt-map" + OURS,
    "Dirichlet(2) 5-shot": "prototypes,bd-cspn,laplacian-shot,label-propagation,alpha-tim,pt-map" + OURS,
    "40 % wrong labels 5-shot": "prototypes,logistic-regression,label-propagation,bd-cspn,pt-map" + OURS,
    "hard classes 1-shot": "prototypes,label-propagation,bd-cspn,laplacian-shot,pt-map" + OURS,
}


def run(
    features: Path,
    split: str,
    episodes: int,
    seed: int,
    only: str | None,
    again: str | None,
    conditions: dict,
) -> dict:
    source = open_source(features)
    for name, options in CONDITIONS.items():
        if only not in (None, name):
            continue
        methods, _ = choose(again or FEW.get(name), lacks=source.lacks(split))
        sampler = source.sampler(split, way=5, query=15, episodes=episodes, batch=64, seed=seed, **options)
        material = source.material(sampler, split, base=name in TRAINED)
        rows = [row.row() for row in compare(methods, material, sampler, progress=print)]
        if again:  # in place of the kept ones
            new = {(row["method"], row["mode"]): row for row in rows}
            kept = {(row["method"], row["mode"]): row for row in conditions[name]["rows"]}
            rows = sorted((kept | new).values(), key=lambda row: ORDER[row["method"]])
        conditions[name] = {"episodes": {"way": 5, "query": 15, "seed": seed, **options}, "rows": rows}
    return {
        "command": f"python experiments/rivals.py FEATURES.npz --episodes {episodes}",
        "split": split,
        "machine": machine(),
        "conditions": {name: conditions[name] for name in CONDITIONS if name in conditions},
    }


def table(result: dict) -> str:
    """One table per condition: accuracy, difference from prototypes, calibration, time, audit."""
    parts = []
    for name, condition in result["conditions"].items():
        rows = condition["rows"]
        parts += [
            f"**{name}**: 5-way, {rows[0]['episodes']} episodes, fingerprint `{rows[0]['fingerprint']}`.",
            "",
            "| method | mode | accuracy | over prototypes | ECE | ms | audit |",
            "|---|---|---|---|---|---|---|",
        ]
        for row in rows:
            above = (
                ""
                if row["difference"] is None
                else f"{row['difference']:+.2f} ± {row['difference_ci95']:.2f}"
            )
            parts.append(
                f"| {row['title']} | {row['mode']} | {row['accuracy']:.2f} ± {row['ci95']:.2f} | {above} | "
                f"{row['ece']:.3f} | {row['ms_per_episode']:.2g} | {', '.join(row['audit']) or 'ok'} |"
            )
        parts.append("")
    return "\n".join(parts)


def summary(result: dict) -> str:
    """One row per method and mode, one column per condition; the episodes are in the last row."""
    conditions = result["conditions"]
    rows = {
        (row["method"], row["mode"]): row for name in reversed(conditions) for row in conditions[name]["rows"]
    }
    order = dict.fromkeys((r["method"], r["mode"]) for c in conditions.values() for r in c["rows"])
    scored = {
        (name, row["method"], row["mode"]): f"{row['accuracy']:.1f} ± {row['ci95']:.1f}"
        for name, condition in conditions.items()
        for row in condition["rows"]
    }
    lines = ["| method | mode | " + " | ".join(conditions) + " | ms | audit |"]
    lines.append("|---|---|" + "---|" * (len(conditions) + 2))
    for key in order:
        row = rows[key]
        cells = " | ".join(scored.get((name, *key), "") for name in conditions)
        checked = ", ".join(row["audit"]) or "ok"
        lines.append(f"| {row['title']} | {key[1]} | {cells} | {row['ms_per_episode']:.2g} | {checked} |")
    prints = (f"{c['rows'][0]['episodes']}, `{c['rows'][0]['fingerprint']}`" for c in conditions.values())
    lines.append("| *episodes, fingerprint* | | " + " | ".join(prints) + " | | |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("features", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--episodes", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=CONDITIONS, help="only this condition; the others are kept")
    parser.add_argument("--again", help="methods to score again, separated by commas; the others are kept")
    parser.add_argument("--table", action="store_true", help="only print the table of the kept figures")
    arguments = parser.parse_args()
    file = RESULTS / "rivals.json"
    if not arguments.table:
        kept = json.loads(file.read_text())["conditions"] if file.exists() else {}
        options = (arguments.split, arguments.episodes, arguments.seed, arguments.only, arguments.again, kept)
        result = run(arguments.features, *options)
        RESULTS.mkdir(exist_ok=True)
        file.write_text(json.dumps(result, indent=1) + "\n")
    result = json.loads(file.read_text())
    rows = result["conditions"]["balanced 1-shot"]["rows"]
    save_comparison(RESULTS / "rivals.png", rows, f"{result['split']} classes, 5-way 1-shot")
    (RESULTS / "rivals.md").write_text(table(result))
    print(table(result))


if __name__ == "__main__":
    main()
