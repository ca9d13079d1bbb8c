"""What one waits for before anything happens: whole processes, files in the page cache.

``fewshot --help`` against ``python -c "import torch"``; ``import fewshot``, less the interpreter's own start,
against 0.15 s; ``fewshot predict`` with a conv4 on 5 classes of one picture and 20 queries, against importing
torch, torchvision and torch-geometric. The first run encodes the images, and is not timed; the figures say
where the time goes.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lines import Line
from loading import write_images
from materials import generated_images
from measure import Times, race
from stages import conclude, parser

from fewshot import ClassGraph, GraphFewShot, backbones
from fewshot.core.fastest import FILE
from fewshot.core.files import cache_folder

IMPORT = 0.15  # seconds
LIBRARIES = "import torch, torchvision, torch_geometric"


def process(*command: str, **options: Any) -> Callable[[], None]:
    return lambda: subprocess.run(command, check=True, capture_output=True, **options) and None


def python(code: str) -> Callable[[], None]:
    return process(sys.executable, "-c", code)


def fresh(room: Path) -> dict[str, str]:
    """An environment in which no features are cached, but what is fastest on this machine is known."""
    cache = room / "cache"
    cache.mkdir()
    if (cache_folder() / FILE).is_file():
        shutil.copy(cache_folder() / FILE, cache)
    return {**os.environ, "FEWSHOT_CACHE": str(cache)}


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--repetitions", type=int, default=7)
    arguments = options.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        lines = measure(Path(folder), arguments)
    conclude("start_up", lines, arguments)


def measure(room: Path, options: argparse.Namespace) -> list[Line]:
    command = str(Path(sys.executable).parent / "fewshot")  # the one that was installed next to this Python
    GraphFewShot(backbones.conv4(), ClassGraph.pretrained()).save(room / "model.pt")
    write_images(room / "support", generated_images(5, 1, 84), ".jpg")
    write_images(room / "query", generated_images(1, 20, 84), ".jpg")
    places = ("--support", "support", "--query", "query/0000")
    predict = process(command, "predict", "model.pt", *places, cwd=str(room), env=fresh(room))
    contenders = {
        "help": process(command, "--help"),
        "torch": python("import torch"),
        "import": python("import fewshot"),
        "interpreter": python(""),
        "predict": predict,
        "libraries": python(LIBRARIES),
        "predict's imports": python("import fewshot.cli.predict, fewshot.model.few_shot"),
    }
    times = race(contenders, options.repetitions)
    own = Times.of([max(0.0, times["import"].median - times["interpreter"].median)])
    seconds = {f"{name}_s": found.median for name, found in times.items()}
    return [
        Line("fewshot --help", 'python -c "import torch"', times["help"], times["torch"], 0.3, at_most=True),
        Line("import fewshot", f"{IMPORT} s", own, Times.of([IMPORT]), 1.0, at_most=True),
        Line(
            "fewshot predict, 5 classes and 20 queries", "importing torch, torchvision, torch-geometric",
            times["predict"], times["libraries"], 1.5, at_most=True, figures=seconds,
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
