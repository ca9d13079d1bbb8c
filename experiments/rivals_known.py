"""The conditions of `rivals.py` with relations to known classes, and with queries of unknown classes.

Rows with relations are tables of their own: they see more than pixels.
"""

from collections.abc import Callable, Iterable

from fewshot.evaluation.choice import choose
from fewshot.evaluation.compare import compare
from fewshot.evaluation.inputs import ScoredData
from fewshot.evaluation.open_set import score_unknown
from fewshot.methods.open_set import RULES

RELATED: dict[str, dict] = {
    "balanced 1-shot": {"shot": 1},
    "balanced 5-shot": {"shot": 5},
    "hard classes 1-shot": {"shot": 1, "classes": "hard"},
    "20-way 1-shot": {"way": 20, "shot": 1},
    "40 % wrong labels 5-shot": {"shot": 5, "label_noise": 0.4},
}
UNKNOWN: dict[str, dict] = {"unknown 1-shot": {"shot": 1}, "unknown 5-shot": {"shot": 5}}
STRANGERS = 5  # unknown classes per episode
SAME = "known-calibration,kernel-regression,mixture,zero-shot"  # rivals given the same knowledge
GRAPH = "prototypes,class-graph"
PASSES = (  # relations, belief (None: judged), methods
    ("taxonomy", None, f"prototypes,transformed,class-graph,bd-cspn,laplacian-shot,pt-map,{SAME}"),
    ("taxonomy", 1.0, GRAPH),
    ("looks", None, GRAPH),
    ("shuffled", None, f"{GRAPH},{SAME}"),
    ("shuffled", 1.0, GRAPH),
)
Say = Callable[[str], None]


def with_relations(source: ScoredData, split: str, options: dict, say: Say) -> list[dict]:
    """The rows without relations, then those with, of one condition on the very same episodes."""
    sampler = source.sampler(split, batch=64, **options)
    rows: list[dict] = []
    for kind, belief, names in PASSES:
        relations = source.relations(kind, split, options["seed"])
        methods, _ = choose(names, lacks=source.lacks(split), relations=True)
        material = source.material(sampler, split, base=True, relations=relations)
        found = compare(methods, material, sampler, progress=say, relations=relations, belief=belief)
        new = [{**row.row(), "belief": "judged" if belief is None else f"{belief:g}"} for row in found]
        rows += [row for row in new if not rows or row["relations"] != "none"]
    return rows


def with_unknown(source: ScoredData, split: str, options: dict, say: Say) -> list[dict]:
    """The rows of the rules for "none of these", without relations and with them."""
    sampler = source.sampler(split, batch=64, unknown=STRANGERS, **options)
    rows: list[dict] = []
    for kind, rules in (("taxonomy", RULES), ("shuffled", [r for r in RULES if r.relations != "no"])):
        relations = source.relations(kind, split, options["seed"])
        material = source.material(sampler, split, base=True, relations=relations)
        found = [
            row.row() for row in score_unknown(rules, material, sampler, relations=relations, progress=say)
        ]
        rows += [row for row in found if kind == "taxonomy" or row["relations"] != "none"]
    return rows


def relations_table(result: dict) -> str:
    """Per condition one table without relations, and one for each kind of relations and belief."""
    parts = []
    for name, condition in result["conditions"].items():
        parts.append(_heading(name, condition))
        for title, rows in _blocks(condition["rows"]):
            given = rows[0]["relations"] != "none"
            head = "| method | mode | accuracy | over prototypes |" + (
                " over no relations |" if given else ""
            )
            parts += [title, "", f"{head} ECE | ms | audit |", "|---|---|---|---|" + "---|" * (3 + given)]
            for row in rows:
                cells = [row["title"], row["mode"], _figure(row["accuracy"], row["ci95"])]
                cells.append(_figure(row["difference"], row["difference_ci95"], "+.2f"))
                cells += [_figure(row["gain"], row["gain_ci95"], "+.2f")] if given else []
                cells += [
                    f"{row['ece']:.3f}",
                    f"{row['ms_per_episode']:.2g}",
                    ", ".join(row["audit"]) or "ok",
                ]
                parts.append(f"| {' | '.join(cells)} |")
            parts.append("")
    return "\n".join(parts)


def unknown_table(result: dict) -> str:
    """Per condition one table without relations, and one for each kind of relations."""
    parts = []
    figures = ("auroc", "aupr", "fpr95", "accuracy")
    for name, condition in result["conditions"].items():
        parts.append(_heading(name, condition))
        for title, rows in _blocks(condition["rows"]):
            head = "| rule | paper | mode | AUROC | AUPR | FPR at 95 % TPR | accuracy of the known |"
            parts += [title, "", head, "|---|---|---|---|---|---|---|"]
            for row in rows:
                cells = [row["title"], row["paper"], row["mode"]]
                cells += [_figure(row[figure], row[f"{figure}_ci95"]) for figure in figures]
                parts.append(f"| {' | '.join(cells)} |")
            parts.append("")
    return "\n".join(parts)


def _heading(name: str, condition: dict) -> str:
    row = condition["rows"][0]
    way = condition["episodes"]["way"]
    return f"## {name}\n\n{way}-way, {row['episodes']} episodes, fingerprint `{row['fingerprint']}`.\n"


def _blocks(rows: Iterable[dict]) -> Iterable[tuple[str, list[dict]]]:
    """Rows by relations and belief, each with a title."""
    blocks: dict[str, list[dict]] = {}
    for row in rows:
        belief = (
            "" if "belief" not in row else f", {row['belief']}" if row["belief"] == "judged" else ", believed"
        )
        title = "No relations." if row["relations"] == "none" else f"Relations: {row['relations']}{belief}."
        blocks.setdefault(title, []).append(row)
    return blocks.items()


def _figure(value: float | None, half: float | None, form: str = ".2f") -> str:
    if value is None:
        return ""
    return f"{value:{form}}" + ("" if half is None else f" ± {half:.2f}")
