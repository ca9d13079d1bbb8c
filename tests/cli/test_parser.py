"""Parsers from typed functions: what becomes an option, and how the options come back as arguments."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from fewshot.cli.compare import compare
from fewshot.cli.evaluate import evaluate
from fewshot.cli.options import SAMPLING, EpisodeOptions
from fewshot.cli.parser import arguments, from_function


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large.

    Args:
        width: In pixels.
        label_height: Of the label.
    """

    width: int = 3
    label_height: float = 0.5


def draw(file: str, *, size: Size, fast: bool = False) -> None:
    """Draw.

    Args:
        file: Where to.
        size: How large.
        fast: Do not look closely.
    """


def test_a_dataclass_is_one_option_per_field():
    parser = from_function(draw)
    parsed = parser.parse_args(["a.png", "--label-height", "2", "--fast"])
    assert arguments(draw, vars(parsed.as_flat())) == {
        "file": "a.png", "size": Size(width=3, label_height=2.0), "fast": True,
    }  # fmt: skip
    text = parser.format_help()
    assert "In pixels. (type: int, default: 3)" in text
    assert "--size" not in text


@pytest.mark.parametrize("command", [evaluate, compare])
def test_commands_that_score_share_their_episode_options(command):
    parser = from_function(command)
    parsed = parser.parse_args(["x", "--split", "val", "--way", "20", "--label-noise", "0.4"])
    given = arguments(command, vars(parsed.as_flat()))
    assert given["options"] == EpisodeOptions(split="val", way=20, label_noise=0.4)
    sampling = given["options"].sampling()
    assert tuple(sampling) == SAMPLING
    assert (sampling["way"], sampling["label_noise"]) == (20, 0.4)
