"""The figures of the README and of the documentation are those of the result files."""

import re
import sys
from pathlib import Path

import pytest
import torch

from fewshot import ClassGraph

ROOT = Path(__file__).parents[2]
FURTHER = ("neighbours.", "none_of_these.")  # for known classes, and for queries of none of the classes
sys.path.append(str(ROOT / "experiments"))
tables = pytest.importorskip("tables")


@pytest.mark.parametrize("page", tables.PAGES)
def test_tables_are_those_of_the_result_files(page: str) -> None:
    assert (ROOT / page).read_text() == tables.filled(page), "run python experiments/tables.py"


def test_tables_are_not_empty() -> None:
    for of_page in tables.PAGES.values():
        for table in of_page.values():
            parts = [part for part in table().split("\n\n") if part.startswith("|")]
            assert parts or table().startswith("> ")  # a sentence with figures
            for part in parts:
                header, rule, *rows = part.splitlines()
                assert rows
                assert {line.count("|") for line in (header, rule, *rows)} == {header.count("|")}


def test_a_table_without_its_marks_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tables.PAGES, "README.md", {"nothing": tables.PAGES["README.md"]["headline"]})
    with pytest.raises(ValueError, match=re.escape("README.md: expected one <!-- nothing -->")):
        tables.filled("README.md")


@pytest.mark.parametrize("page", ["README.md", "docs/graph.md"])
def test_the_graph_has_as_many_scalars_as_the_page_says(page: str) -> None:
    shipped = ClassGraph.pretrained().state_dict()
    start = {name: value for name, value in ClassGraph().state_dict().items() if not name.startswith(FURTHER)}
    every = sum(value.numel() for value in start.values())
    text = " ".join((ROOT / page).read_text().split())
    assert f"Without known classes the graph has {every} scalars; those of the edges" in text
    by_hand = [name for name in start if "conv." in name or name.split(".")[-1] == "message"]
    assert all(torch.equal(shipped[name], start[name]) for name in by_hand)


@pytest.mark.parametrize("config", ["glyphs", "tiny-imagenet-fs"])
def test_the_expected_figures_of_a_config_are_those_of_its_result_file(config: str) -> None:
    header = (ROOT / "configs" / f"{config}.yaml").read_text().split("\nname: ")[0]
    found = re.findall(r"(\d+\.\d) ± (\d\.\d)", header)
    rows = [row for row in tables.result(config)["rows"] if row["way"] == 5 and row["relations"] == "none"]
    kept = {
        (row["method"], row["mode"], row["shot"]): (f"{row['accuracy']:.1f}", f"{row['ci95']:.1f}")
        for row in rows
    }
    modes = [
        ("prototypes", "inductive"),
        *(("class-graph", m) for m in ("inductive", "joint", "joint-known")),
    ]
    assert found == [kept[method, mode, shot] for method, mode in modes for shot in (1, 5)]
