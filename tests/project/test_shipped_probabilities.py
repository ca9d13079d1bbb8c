"""What the package ships of probabilities is what the result files have, and the picture of joint gains."""

import json
import sys
from pathlib import Path

import pytest

from fewshot.methods.prototypes import USUAL

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "experiments"))
picture = pytest.importorskip("joint_gain_picture")
RESULTS = ROOT / "experiments" / "results"


def test_the_usual_scale_is_that_of_the_folds() -> None:
    assert json.loads((RESULTS / "prototype_scale.json").read_text())["scale"] == USUAL._asdict()


def test_before_and_after_are_of_the_same_episodes() -> None:
    graphs = json.loads((RESULTS / "joint_gain.json").read_text())["graphs"]
    before, after = graphs["before"], graphs["after"]
    assert [row["fingerprint"] for row in before] == [row["fingerprint"] for row in after]


def test_the_picture_has_a_cell_for_each_row(tmp_path: Path) -> None:
    result = json.loads((RESULTS / "joint_gain.json").read_text())
    figure = picture.draw(tmp_path / "gain.png", result)
    shown = sorted(text.get_text() for axes in figure.axes for text in axes.texts)
    rows = [row for rows in result["graphs"].values() for row in rows]
    assert shown == sorted(f"{row['gain'] + 0.0:+.1f}".replace("-", "−") for row in rows)
    assert [axes.get_title() for axes in figure.axes] == [
        "before, 1-shot",
        "after, 1-shot",
        "before, 5-shot",
        "after, 5-shot",
    ]
    assert (tmp_path / "gain.png").stat().st_size > 10_000
