"""The picture of a comparison: blocks of rows, and files."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_methods import JOINT
from PIL import Image

from fewshot.core.errors import InputError
from fewshot.evaluation.compare import compare
from fewshot.evaluation.inputs import made_up_data
from fewshot.methods.catalogue import find
from fewshot.report.comparison_chart import blocks_of, save_comparison


def test_rows_with_relations_have_blocks_of_their_own():
    rows = [
        {"mode": "joint", "accuracy": 50.0, "relations": "taxonomy"}, {"mode": "inductive", "accuracy": 40.0},
        {"mode": "inductive", "accuracy": 45.0, "relations": "taxonomy"},
        {"mode": "inductive", "accuracy": 48.0, "relations": "taxonomy"},
    ]  # fmt: skip
    blocks = blocks_of(rows)
    assert [[row["accuracy"] for row in block] for block in blocks.values()] == [[40.0], [48.0, 45.0], [50.0]]
    assert list(blocks)[1] == "Inductive: each query on its own, with relations (taxonomy)"


@pytest.fixture(scope="module")
def rows():
    source = made_up_data()
    sampler = source.sampler("test", query=5, episodes=10)
    odd = replace(JOINT, title="a $x$ <b>", modes=("inductive", "joint"))
    found = compare([*find("class-graph"), odd], source.material(sampler, "test", base=False), sampler)
    return [row.row() for row in found]


def test_picture(tmp_path, rows):
    image = Image.open(save_comparison(tmp_path / "out" / "c.png", rows, "5-way 1-shot"))
    assert image.width == 1600
    assert len(set(np.asarray(image.convert("L")).flat)) > 50
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["c.png"]  # no temporary file is left
    longer = Image.open(save_comparison(tmp_path / "l.png", rows * 3))
    assert longer.height > 1.5 * image.height  # more methods, more room


def test_picture_of_prototypes_alone_and_of_one_episode(tmp_path, rows):
    alone = [{**rows[0], "ci95": None}]
    assert save_comparison(tmp_path / "c.svg", alone).stat().st_size > 1000


def test_picture_refuses_other_files(tmp_path, rows):
    with pytest.raises(InputError, match=r"out: expected a file that ends in \.png"):
        save_comparison(tmp_path / "c.gif", rows)
