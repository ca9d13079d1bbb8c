"""What to check and what to label next."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typed import fails, run

from fewshot import ClassGraph, GraphFewShot, InputError, backbones
from fewshot.model.image_files import encode_files
from fewshot.model.preprocess import Preprocess
from fewshot.model.suggest import label_doubts, most_useful, suggest


def clusters(classes: int, images: int, seed: int = 0, spread: float = 0.3) -> torch.Tensor:
    """Features [classes, images, 16], each class about an axis of its own."""
    generator = torch.Generator().manual_seed(seed)
    return torch.eye(16)[:classes, None] + spread * torch.randn(classes, images, 16, generator=generator)


def test_an_exchanged_label_is_found_with_its_class_and_no_other() -> None:
    support = clusters(4, 5)
    support[0, 2], support[3, 1] = support[3, 1].clone(), support[0, 2].clone()
    wrong, like = label_doubts(ClassGraph.pretrained(), support[None])
    found = [tuple(place) for place in (wrong[0] > 0.5).nonzero().tolist()]
    assert found == [(0, 2), (3, 1)]
    assert [int(like[0][place]) for place in found] == [3, 0]


def test_padding_and_only_supports_are_not_judged() -> None:
    graph, support = ClassGraph.pretrained(), clusters(3, 4)
    mask = torch.ones(1, 3, 4, dtype=torch.bool)
    mask[0, 1, 1:] = False
    wrong, _ = label_doubts(graph, support[None], mask)
    assert (wrong[0, 1] == 0).all()
    padded = support.clone()
    padded[1, 1:] = 7.0
    torch.testing.assert_close(label_doubts(graph, padded[None], mask)[0], wrong)
    assert (label_doubts(graph, support[None, :, :1])[0] == 0).all()


def test_each_unlabelled_class_is_asked_for_before_any_comes_again() -> None:
    pool = clusters(6, 10, spread=0.1)
    chosen = most_useful(pool.flatten(0, 1), clusters(6, 1, seed=1, spread=0.1)[:2, 0], 4) // 10
    assert sorted(chosen.tolist()) == [2, 3, 4, 5]  # not 0 and 1, which have a support


def test_the_first_is_that_of_the_largest_group_and_scale_does_not_matter() -> None:
    pool = torch.cat([clusters(3, 4)[1], clusters(3, 9)[2]])
    labelled = clusters(3, 1)[0]
    first = most_useful(pool, labelled, 1)
    assert first >= 4
    assert torch.equal(most_useful(3 * pool, 0.1 * labelled, 5), most_useful(pool, labelled, 5))
    assert len(most_useful(pool, labelled, 50)) == len(pool)
    assert len(set(most_useful(pool, labelled, 13).tolist())) == 13


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of flat grey levels, one image in the wrong folder; a pool; a checkpoint."""
    folder = tmp_path_factory.mktemp("suggest")
    rng = np.random.default_rng(0)

    def draw(place: Path, side: int) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 30, (16, 16), dtype=np.uint8)
        pixels[:, 5 * side : 5 * side + 5] += 200
        Image.fromarray(pixels).save(place)

    for side, name in enumerate(("left", "middle", "right")):
        for i in range(5):
            draw(folder / "support" / name / f"{i}.png", side)
            draw(folder / "pool" / f"{name}{i}.png", side)
    draw(folder / "support" / "left" / "wrong.png", 2)
    torch.manual_seed(0)
    backbone = backbones.conv4(in_channels=1, width=8)
    model = GraphFewShot(backbone, ClassGraph.pretrained(), preprocess=Preprocess(16, 1), precision="32-true")
    model.base_mean = encode_files(model.eval(), sorted((folder / "pool").glob("*.png"))).mean(0)
    model.save(folder / "checkpoint.pt")
    return folder


def test_folders_of_images(folder: Path) -> None:
    model = GraphFewShot.load(folder / "checkpoint.pt")
    suspects, candidates = suggest(model, folder / "support", folder / "pool", count=4)
    assert [(one.file.name, one.name, one.looks_like) for one in suspects] == [("wrong.png", "left", "right")]
    assert 0.5 < suspects[0].probability <= 1
    assert len({one.file for one in candidates}) == 4
    with pytest.raises(InputError, match="pool: no such file or folder"):
        suggest(model, folder / "support", folder / "nothing")
    with pytest.raises(InputError, match="count: expected at least 1, got 0"):
        suggest(model, folder / "support", folder / "pool", count=0)


def test_the_command(folder: Path, capsys) -> None:
    arguments = ["--support", folder / "support", "--pool", folder / "pool", "--count", 3]
    table = folder / "next.csv"
    assert run("suggest", folder / "checkpoint.pt", *arguments, "--csv", table) == 0
    shown = capsys.readouterr().out
    assert "Labels to check:" in shown
    assert "wrong.png" in shown
    rows = list(csv.DictReader(table.open()))
    assert list(rows[0]) == ["suggestion", "file", "class", "looks_like", "probability"]
    assert [row["suggestion"] for row in rows] == ["check", "label", "label", "label"]
    assert (rows[0]["class"], rows[0]["looks_like"]) == ("left", "right")
    words = ["suggest", folder / "checkpoint.pt", *arguments[:2], "--pool", folder / "nothing"]
    assert fails(capsys, *words).startswith("fewshot suggest: error: pool: no such file")
