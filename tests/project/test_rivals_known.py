"""The tables of rivals with relations and of unknown classes, from made-up rows."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "experiments"))
rivals_known = pytest.importorskip("rivals_known")


def row(relations: str, belief: str, **more: object) -> dict:
    figures = {"accuracy": 61.0, "ci95": 0.5, "difference": 7.5, "difference_ci95": 0.4, "ece": 0.04}
    gains = {} if relations == "none" else {"gain": -1.25, "gain_ci95": 0.5}
    return {
        "title": "class graph", "mode": "inductive", "relations": relations, "belief": belief, **figures,
        **gains, "ms_per_episode": 0.1, "audit": [], "episodes": 9, "fingerprint": "abc", **more,
    }  # fmt: skip


def test_rows_with_relations_are_tables_of_their_own() -> None:
    rows = [row("none", "judged"), row("taxonomy", "judged"), row("taxonomy", "1"), row("shuffled", "judged")]
    result = {"conditions": {"balanced 1-shot": {"episodes": {"way": 5}, "rows": rows}}}
    text = rivals_known.relations_table(result)
    titles = [line for line in text.splitlines() if line.endswith(".") and not line.startswith("5-way")]
    assert titles == [
        "No relations.",
        "Relations: taxonomy, judged.",
        "Relations: taxonomy, believed.",
        "Relations: shuffled, judged.",
    ]
    plain, related = text.split("Relations: taxonomy, judged.")
    assert "over no relations" not in plain
    assert "| -1.25 ± 0.50 |" in related
    assert "5-way, 9 episodes, fingerprint `abc`." in plain


def test_the_table_of_unknown_classes_cites_each_rule() -> None:
    names = ("auroc", "aupr", "fpr95", "accuracy")
    figures = {name: 70.0 + i for i, name in enumerate(names)} | {f"{name}_ci95": 0.5 for name in names}
    common = {"mode": "joint", "episodes": 9, "fingerprint": "abc", **figures}
    rows = [
        {"title": "OSTIM", "paper": "Boudiaf et al. 2022", "relations": "none", **common},
        {"title": "class graph", "paper": "this package", "relations": "taxonomy", **common},
    ]
    text = rivals_known.unknown_table({"conditions": {"1-shot": {"episodes": {"way": 5}, "rows": rows}}})
    expected = "| 70.00 ± 0.50 | 71.00 ± 0.50 | 72.00 ± 0.50 | 73.00 ± 0.50 |"
    assert f"| OSTIM | Boudiaf et al. 2022 | joint {expected}" in text
    assert "Relations: taxonomy." in text
