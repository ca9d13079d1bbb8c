"""The class graph compared with the field's methods, on the same episodes of a file of features.

    python experiments/rivals.py FEATURES.npz

writes ``experiments/results/rivals.json``, the tables ``rivals.md`` and a picture. Test classes are scored,
with the shipped weights; nothing is chosen by them. ``--set relations`` scores methods that are given
relations to known classes (``relations.json``, ``relations.md``), ``--set unknown`` the rules for "none of
these" (``unknown.json``, ``unknown.md``). ``--table`` prints the tables of the kept figures; ``tables.py``
puts their summary into the documentation.
"""

import json
from pathlib import Path

from features import features_parser
from main_job import RESULTS, machine
from rivals_known import RELATED, UNKNOWN, relations_table, unknown_table, with_relations, with_unknown

from fewshot.evaluation.choice import choose
from fewshot.evaluation.compare import compare
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
SETS = {"rivals": CONDITIONS, "relations": RELATED, "unknown": UNKNOWN}
KNOWN = {"relations": with_relations, "unknown": with_unknown}


def run(
    features: Path,
    split: str,
    episodes: int,
    seed: int,
    only: str | None,
    again: str | None,
    conditions: dict,
    which: str = "rivals",
) -> dict:
    """Score the conditions of a set; those of `conditions` that are not scored are kept."""
    source = open_source(features)
    for name, options in SETS[which].items():
        if only not in (None, name):
            continue
        shape = {"way": 5, "query": 15, "seed": seed, **options}
        if shape["way"] > source.labelled(split).num_classes:
            print(f"{name}: left out, {split} has too few classes")
            continue
        if which == "rivals":
            methods, _ = choose(again or FEW.get(name), lacks=source.lacks(split))
            sampler = source.sampler(split, episodes=episodes, batch=64, **shape)
            material = source.material(sampler, split, base=name in TRAINED)
            rows = [row.row() for row in compare(methods, material, sampler, progress=print)]
        else:
            rows = KNOWN[which](source, split, {**shape, "episodes": episodes}, print)
        if again:  # in place of the kept ones
            new = {(row["method"], row["mode"]): row for row in rows}
            kept = {(row["method"], row["mode"]): row for row in conditions[name]["rows"]}
            rows = sorted((kept | new).values(), key=lambda row: ORDER[row["method"]])
        conditions[name] = {"episodes": shape, "rows": rows}
    chosen = "" if which == "rivals" else f" --set {which}"
    return {
        "command": f"python experiments/rivals.py FEATURES.npz --episodes {episodes}{chosen}",
        "split": split,
        "machine": machine(),
        "conditions": {name: conditions[name] for name in SETS[which] if name in conditions},
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
    parser = features_parser(__doc__)
    names = sorted({name for conditions in SETS.values() for name in conditions})
    parser.add_argument("--set", choices=SETS, default="rivals", help="which conditions; default rivals")
    parser.add_argument("--only", choices=names, help="only this condition; the others are kept")
    parser.add_argument("--again", help="methods to score again, separated by commas; the others are kept")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--table", action="store_true", help="only print the table of the kept figures")
    arguments = parser.parse_args()
    which, out = arguments.set, arguments.out
    if arguments.again and which != "rivals":
        parser.error("--again: expected --set rivals with it")
    file = out / f"{which}.json"
    if not arguments.table:
        kept = json.loads(file.read_text())["conditions"] if file.exists() else {}
        options = (arguments.split, arguments.episodes, arguments.seed, arguments.only, arguments.again, kept)
        result = run(arguments.features, *options, which)
        out.mkdir(exist_ok=True)
        file.write_text(json.dumps(result, indent=1) + "\n")
    result = json.loads(file.read_text())
    if which == "rivals":
        rows = result["conditions"]["balanced 1-shot"]["rows"]
        save_comparison(out / "rivals.png", rows, f"{result['split']} classes, 5-way 1-shot")
    shown = {"rivals": table, "relations": relations_table, "unknown": unknown_table}[which](result)
    (out / f"{which}.md").write_text(shown)
    print(shown)


if __name__ == "__main__":
    main()
