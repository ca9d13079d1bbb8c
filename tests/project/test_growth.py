"""The benchmark's curves of time and memory: exponents, and the whole stage on very little."""

import gc
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments" / "benchmark"))
growth = pytest.importorskip("growth")


def test_exponent_of_a_power() -> None:
    points = [{"classes": n, "bytes": 1e5 * n**1.5, "seconds": {"median": 3 * n}} for n in (10, 20, 70)]
    assert growth.exponent(points, "exponent of memory") == pytest.approx(1.5)
    assert growth.exponent(points, "exponent of time") == pytest.approx(1.0)


@pytest.fixture
def light() -> Iterator[None]:
    """Garbage is collected before every repetition: not among all that the other tests have loaded."""
    gc.freeze()
    yield
    gc.unfreeze()


def test_stage_on_few_classes(light, monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setattr(growth, "alone", lambda work, *arguments: work(*arguments))
    monkeypatch.setattr(growth, "beside_dense", lambda size, joint: 1.0)
    sizes = [growth.Size(n, 20, 8) for n in (12, 24)]
    known = [growth.Size(3, 6, 8, 2, c) for c in (64, 80)]
    monkeypatch.setattr(growth, "with_known", lambda size, joint: 1.4)
    monkeypatch.setattr(growth, "CURVES", {"classes": sizes, "queries": [sizes[0]], "known": known})
    monkeypatch.setattr(growth, "MANY", sizes)
    monkeypatch.setattr(growth, "DENSE", 12)
    growth.main(["--repetitions", "1", "--results", str(tmp_path)])
    kept = json.loads((tmp_path / "growth.json").read_text())
    assert {file.name for file in tmp_path.iterdir()} == {"growth.json", "growth.png"}
    ways = {
        (curve["mode"], curve["edges"]): [point["classes"] for point in curve["points"]]
        for curve in kept["curves"]
        if curve["along"] == "classes"
    }
    assert ways == {
        ("inductive", "dense"): [12],
        ("inductive", "sparse"): [12, 24],
        ("joint", "dense"): [12],
        ("joint", "sparse"): [12, 24],
        ("finding the neighbours", "sparse"): [12, 24],
    }
    assert [row["verdict"] for row in kept["rows"] if row["work"].endswith("64 known classes")] == 4 * ["ok"]
    assert sum("64 to 80 known classes" in row["work"] for row in kept["rows"]) == 4
    same = [row for row in kept["rows"] if row["work"].endswith("sparse minus dense")]
    assert [row["verdict"] for row in same] == ["ok", "ok"]
    assert "sparse minus dense" in capsys.readouterr().out


def test_very_many_classes_on_few(light, monkeypatch, tmp_path, capsys) -> None:
    stage = pytest.importorskip("many_classes")
    monkeypatch.setattr(stage, "alone", lambda work, point: work(point._replace(queries=20, features=16)))
    monkeypatch.setattr(stage, "KINDS", (("grouped", 0.1), ("skewed", 0.1)))
    stage.main(["--sizes", "40", "80", "--results", str(tmp_path)])
    kept = json.loads((tmp_path / "many_classes.json").read_text())
    assert [(p["kind"], p["classes"]) for p in kept["points"]] == [
        ("grouped", 40), ("grouped", 80), ("skewed", 40), ("skewed", 80)
    ]  # fmt: skip
    assert all(p["shortlist"] == p["exact"] > 80 and p["all"] > 80 for p in kept["points"])
    assert any("1,000,000 classes, at most" in row["work"] for row in kept["rows"])
