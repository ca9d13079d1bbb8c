"""Every command and every line of Python in the README and the documentation runs.

The blocks of a page run in its order, in a folder with small generated files in their true formats; what
would take long is given fewer steps and episodes.
"""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from forms import as_folder
from PIL import Image
from test_cifar import cifar
from test_miniimagenet import cached
from typed import run

from fewshot.evaluation import sure_sets
from fewshot.training import probabilities, validation
from fewshot.training.config import read

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r'^```(console|python)(?: title="(.*?)")?\n(.*?)^```', re.MULTILINE | re.DOTALL)

FEWER = {
    "pretrain": {"epochs": 1, "images": 8, "batch": 8},
    "meta": {"steps": 1, "way": 2, "shot": 1, "query": 1, "validate_every": 1},
    "graph": {"steps": 1, "ways": [2], "shots": [1], "query": 1, "validate_every": 1},
    "evaluate": {"ways": [2], "shots": [1], "query": 1, "episodes": 4},
}
NARROW = {"conv4": {"width": 4}, "resnet12": {"widths": [4, 4, 4, 4]}}

ELSEWHERE = {  # what a line starts with, and what runs it
    "make ": ".ci/run",
    "mkdocs build": ".ci/run",
    "torchrun": "test_devices.py",
    "wandb sweep": "test_sweeps.py",
    "fewshot train --config glyphs --devices 2": "test_devices.py",
    "fewshot train --config frozen": "test_config_hub.py",
    "fewshot data download": "data/test_download.py",
    "fewshot serve": "page/test_browser.py",
    # Each takes many seconds; the README's is run.
    "fewshot export runs/glyphs/checkpoint.pt --format onnx --out": "model/test_export.py",
    "fewshot export runs/glyphs/checkpoint.pt --format torch": "model/test_export.py",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands run, with what the pages speak of: images in folders, features, a trained run."""
    folder = tmp_path_factory.mktemp("commands")
    generator = np.random.default_rng(0)
    for name in ("alef", "bet", "gimel"):
        draw(folder / "letters" / name, 3, generator)
        draw(folder / "scans", 2, generator, name)
    for name in ("heron", "grey_crow", "lizard"):
        draw(folder / "animals" / name, 2, generator)
        draw(folder / "new", 1, generator, name)
    (folder / "animals" / "stork").mkdir()
    for kind in range(12):
        draw(folder / "photos" / f"kind{kind:02}", 24, generator)
    features = generator.normal(size=(15, 24, 16)).astype(np.float32)
    split = np.repeat(["train", "val", "test"], 5)
    as_folder(cached(), folder / "miniimagenet")
    as_folder(cifar(), folder / "cifar-fs")
    paths = [f"thing/{number % 3}/{number}" for number in range(15)]
    wnids = np.arange(15).astype(str)
    np.savez(folder / "FEATURES.npz", features=features, wnids=wnids, paths=paths, split=split)
    return folder


def draw(folder: Path, count: int, generator: np.random.Generator, name: str = "image") -> None:
    """Images of noise about a level of the folder's own."""
    folder.mkdir(parents=True, exist_ok=True)
    level = generator.integers(60, 190, size=3)
    for number in range(count):
        pixels = level + generator.integers(-50, 50, size=(32, 32, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{name}{number}.png")


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Few episodes of the validation classes, and one thread, since images and networks are tiny."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "VAL_EPISODES", 10)
        patch.setattr(probabilities, "ANSWERS", 40)
        patch.setattr(sure_sets, "LEAST", 2)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def here(folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEWSHOT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)  # what a page calls a file is imported from there
    if not (folder / "runs").exists():
        execute("fewshot train --config glyphs")


@cache  # what several pages have is run once
def execute(line: str) -> None:
    """Run a command of `fewshot`, with less to do."""
    if any(line.startswith(start) for start in ELSEWHERE):
        return
    words = shlex.split(re.sub(r"([\w-]+):PATH", r"\1:\1", line), comments=True)
    assert words[0] == "fewshot", f"no test runs {line}"
    arguments = words[1:]
    if arguments[0] == "train":
        arguments += fewer(arguments[arguments.index("--config") + 1])
    elif arguments[0] in ("evaluate", "compare"):
        arguments += ["--episodes", "4"]
        if arguments[0] == "compare" and "--methods" not in arguments:  # some of them would be trained first
            arguments += ["--methods", "prototypes,class-graph,tim"]
    # Of so few images, a check says that they are not all there.
    expected = 2 if arguments[:2] == ["data", "check"] else 0
    assert run(*arguments) == expected, line


def fewer(name: str) -> list[str]:
    """Options of `train` by which a config has little to do."""
    config = read(name)
    sections = [section for section in FEWER if getattr(config, section) is not None]
    options = {f"--{section}.{key}": value for section in sections for key, value in FEWER[section].items()}
    options |= {f"--backbone.{key}": value for key, value in NARROW[config.backbone.name].items()}
    return [str(part) for pair in options.items() for part in pair]


@pytest.mark.parametrize("page", PAGES)
def test_every_line_of_a_page_runs(page: str) -> None:
    generator = torch.Generator().manual_seed(0)
    known = {  # what the README's examples call theirs
        "support": torch.randn(2, 5, 1, 16, generator=generator),
        "query": torch.randn(2, 20, 16, generator=generator),
        "base": torch.rand(50, 16, generator=generator) ** 3,
    }
    known |= {
        "base_labels": torch.arange(50) % 5,
        "base_names": ["stork", "hawk", "hound", "drill", "spoon"],
        "base_paths": [
            "animal/bird/stork",
            "animal/bird/hawk",
            "animal/dog/hound",
            "thing/tool/drill",
            "thing/spoon",
        ],
    }
    labels = np.repeat(["ant", "bee", "cat"], 10)
    points = np.random.default_rng(0).normal(size=(30, 8)) + np.arange(30)[:, None] // 10
    known |= {"X_support": points, "y_support": labels, "X_query": points, "y_query": labels}
    known |= {"X_new": points[:4], "y_new": np.repeat("dog", 4)}
    for kind, file, text in BLOCK.findall((ROOT / page).read_text()):
        if file:
            Path(file).write_text(text)
        elif kind == "python":
            exec(text, known)
        else:
            for line in text.replace("\\\n", " ").splitlines():
                execute(line)
