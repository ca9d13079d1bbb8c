"""How long each action on the page of `fewshot serve` takes, with 200 classes and 5,000 pictures to classify.

    OMP_NUM_THREADS=1 python experiments/page_speed.py

The ready model `imagenet`, 200 folders named like classes of ImageNet with five small pictures each, 5,000
pictures to classify; features are put into the cache beforehand (noise about a random centre per class), so
nothing is encoded. Each action is a call of `fewshot.page.handlers`, without a browser; the median of three
calls. Writes ``experiments/results/page_speed.json``.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from main_job import RESULTS, machine
from PIL import Image

from fewshot.core.files import write_text
from fewshot.evaluation.inputs import load_model
from fewshot.model.feature_cache import FeatureCache
from fewshot.model.few_shot import GraphFewShot
from fewshot.page.answers import Desk, Options
from fewshot.page.handlers import Handlers, View, Visit
from fewshot.page.support_folder import SupportFolder

SIDE, SPREAD, REPEATS = 64, 0.5, 3


def write_pictures(home: Path, model: GraphFewShot, classes: int, shots: int, queries: int) -> list[Path]:
    """Folders of supports and pictures to classify, with their features in the cache; returns the latter."""
    assert model.known is not None
    assert model.known.paths is not None
    generator, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)
    size = model.known.prototypes.shape[1]
    centres = torch.randn(classes, size, generator=generator)
    cache = FeatureCache(model)
    names = list(dict.fromkeys(path[-1] for path in model.known.paths))[:: len(model.known) // classes]
    places = [(c, home / "photos" / names[c] / f"{k}.jpg") for c in range(classes) for k in range(shots)]
    new = [(n % classes, home / "new" / f"{n:05}.jpg") for n in range(queries)]
    for start in range(0, len(places + new), 500):
        some = (places + new)[start : start + 500]
        for label, file in some:
            file.parent.mkdir(parents=True, exist_ok=True)
            colour = np.random.default_rng(label).integers(40, 216, 3)
            pixels = colour + rng.integers(-40, 40, (SIDE, SIDE, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(file)
        noise = SPREAD * torch.randn(len(some), size, generator=generator)
        cache.put([file.read_bytes() for _, file in some], centres[[label for label, _ in some]] + noise)
    return [file for _, file in new]


def measure(home: Path, model: GraphFewShot, new: list[Path]) -> dict[str, float]:
    """The median seconds per action."""
    do = Handlers(Desk(model, SupportFolder(home / "photos")))
    visit, plain = Visit(), Options()
    names = do.desk.folder.classes()
    seconds: dict[str, float] = {}

    def timed(action: str, *calls: Callable[[], Any]) -> Any:
        """The results of the calls, which are timed one by one."""
        taken, found = [], None
        for call in calls:
            start = time.perf_counter()
            found = call()
            taken.append(time.perf_counter() - start)
        seconds[action] = round(statistics.median(taken), 3)
        print(f"{action:32} {seconds[action]:7.3f} s", flush=True)
        return found

    def step(*arguments: Any, page: int = 1, options: Options = plain) -> Callable[[], Any]:
        def call() -> Any:
            nonlocal visit
            found = do.attempt(arguments[0], visit, page, options, *arguments[1:])
            assert isinstance(found, View), found
            visit = found.visit
            return found

        return call

    timed("open the page", step(do.look))
    timed("drop 5,000 pictures (no encoding)", step(do.take, new))
    timed("turn a page of answers", *(step(do.look, page=page) for page in (2, 3, 4)))
    timed("a class absent", *(step(do.look, options=Options(absent=(name,))) for name in names[:REPEATS]))
    timed("joint", *[step(do.look, options=Options(joint=True)), step(do.look)][:1])
    timed("joint, equal shares", step(do.look, options=Options(joint=True, equal=True)))
    timed("without names", step(do.look, options=Options(names=False)))
    step(do.look)()
    timed("why", *(partial(do.explain, visit, place, True) for place in (1, 2, 3)))
    timed("suggestions", *[partial(do.suggest, visit)] * REPEATS)
    timed("give a picture to a class", *(step(do.label, names[3], place) for place in (10, 11, 12)))
    timed("undo", *[step(do.back)] * REPEATS)
    made = ("great auk", "okapi", "capybara")
    timed("make a class", *(step(do.new_class, name) for name in made))
    timed("undo making a class", *[step(do.back)] * REPEATS)
    first = do.desk.supports().files[names[5]]
    timed("take a picture out", *(step(do.remove, str(file)) for file in first[:REPEATS]))
    timed("class graph", partial(do.graph, True))
    timed("answers as CSV", *[partial(do.save, visit)] * REPEATS)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--classes", type=int, default=200)
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--queries", type=int, default=5000)
    parser.add_argument("--out", type=Path, default=RESULTS / "page_speed.json")
    arguments = parser.parse_args()
    shape = {"classes": arguments.classes, "shots": arguments.shots, "queries": arguments.queries}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FEWSHOT_CACHE"] = folder
        model = load_model("imagenet")
        new = write_pictures(Path(folder), model, **shape)
        seconds = measure(Path(folder), model, new)
    found = {"machine": machine(), "model": "imagenet", **shape, "median_seconds": seconds}
    write_text(arguments.out, json.dumps(found, indent=2) + "\n")
    print(f"slowest: {max(seconds, key=seconds.__getitem__)}, {max(seconds.values()):.2f} s")


if __name__ == "__main__":
    main()
