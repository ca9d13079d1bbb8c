"""The README's figures are those of the result files."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "experiments"), str(ROOT / "experiments" / "benchmark")]
main_job = pytest.importorskip("main_job")
rivals = pytest.importorskip("rivals")
speed = pytest.importorskip("summary")


@pytest.mark.parametrize("name", ["glyphs", "tiny-imagenet-fs"])
def test_tables_are_those_of_the_result_files(name: str) -> None:
    result = json.loads((ROOT / "experiments" / "results" / f"{name}.json").read_text())
    assert main_job.table(result) in (ROOT / "README.md").read_text()


def test_methods_are_those_of_the_result_file() -> None:
    result = json.loads((ROOT / "experiments" / "results" / "rivals.json").read_text())
    assert rivals.summary(result) in (ROOT / "README.md").read_text()


def test_times_are_those_of_the_result_files() -> None:
    assert speed.markdown() in (ROOT / "README.md").read_text()
