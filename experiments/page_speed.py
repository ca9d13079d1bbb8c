"""How long each action on the page of `fewshot serve` takes, with 200 classes and 5,000 pictures to classify.

    OMP_NUM_THREADS=1 python experiments/page_speed.py

The ready model `imagenet`, 200 folders named like classes of ImageNet with five small pictures each, 5,000
pictures to classify. Features are put into the cache beforehand, the known class of that name with noise, so
nothing is encoded. Each action is a call of `fewshot.page.handlers` without a browser; the median of
three calls, in seconds and in seconds of the processor, which other programs disturb less (the load average
of the last minute is reported as well). Writes ``experiments/results/page_speed.json``.
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
from fewshot.model.suggest import Suspect
from fewshot.page.answers import Desk, Options
from fewshot.page.handlers import Handlers, View, Visit
from fewshot.page.support_folder import SupportFolder

SIDE, SPREAD = 64, 0.8  # of the pictures, and of their features about those of their class
REPEATS = 3


def write_pictures(home: Path, model: GraphFewShot, classes: int, shots: int, queries: int) -> list[Path]:
    """Folders of supports and pictures to classify, with their features in the cache; returns the latter."""
    assert model.known is not None
    assert model.known.paths is not None
    generator, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)
    cache, size = FeatureCache(model), model.known.prototypes.shape[1]
    numbers = {path[-1]: number for number, path in enumerate(model.known.paths)}
    names = list(numbers)[:: len(numbers) // classes][:classes]
    centres = model.known.prototypes[[numbers[name] for name in names]]
    places = [(c, home / "photos" / names[c] / f"{k}.jpg") for c in range(classes) for k in range(shots)]
    new = [(c, home / "new" / f"{n:05}.jpg") for n, c in enumerate(rng.integers(classes, size=queries))]
    for start in range(0, len(places + new), 500):
        some = (places + new)[start : start + 500]
        for label, file in some:
            file.parent.mkdir(parents=True, exist_ok=True)
            colour = np.random.default_rng(label).integers(40, 216, 3)
            pixels = colour + rng.integers(-40, 40, (SIDE, SIDE, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(file)
        noise = SPREAD * torch.randn(len(some), size, generator=generator) / size**0.5
        shown = centres[[label for label, _ in some]] + noise
        cache.put([file.read_bytes() for _, file in some], shown)
    return [file for _, file in new]


def measure(home: Path, model: GraphFewShot, new: list[Path]) -> dict[str, dict[str, float]]:
    """The median seconds per action, and those of the processor."""
    do = Handlers(Desk(model, SupportFolder(home / "photos")))
    visit, plain = Visit(), Options()
    names = do.desk.folder.classes()
    seconds: dict[str, dict[str, float]] = {}

    def timed(action: str, *calls: Callable[[], Any]) -> Any:
        """The results of the calls, which are timed one by one."""
        taken, found = [], None
        for call in calls:
            start = time.perf_counter(), time.process_time()
            found = call()
            taken.append((time.perf_counter() - start[0], time.process_time() - start[1]))
        wall, cpu = (round(statistics.median(some), 3) for some in zip(*taken, strict=True))
        seconds[action] = {"wall": wall, "processor": cpu}
        print(f"{action:34} {wall:7.3f} s {cpu:7.3f} s", flush=True)
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
    timed("turn a page of classes", *(step(do.turn, page) for page in (2, 3, 1)))
    timed("turn a page of answers", *(step(do.look, page=page) for page in (2, 3, 4)))
    timed("a class absent", *(step(do.look, options=Options(absent=(name,))) for name in names[:REPEATS]))
    timed("a group present", step(do.look, options=Options(present=("bird",))))
    timed("joint", step(do.look, options=Options(joint=True)))
    timed("joint, equal shares", step(do.look, options=Options(joint=True, equal=True)))
    timed("without names", step(do.look, options=Options(names=False)))
    step(do.look)()
    timed("why", *(partial(do.explain, visit, place, True) for place in (1, 2, 3)))
    timed("suggestions", *[step(do.suggest)] * REPEATS)
    assert visit.advice is not None
    doubted = [do.desk.supports().files[name][0] for name in names[:REPEATS]]  # no label is wrong here
    visit.advice = ([Suspect(file, file.parent.name, names[9], 0.9) for file in doubted], visit.advice[1])
    timed("refuse a suspected label", *(step(do.refuse, str(file)) for file in doubted))
    timed("undo refusing it", *[step(do.back)] * REPEATS)
    timed("accept a suspected label", *(step(do.accept, str(file)) for file in doubted))
    timed("undo accepting it", *[step(do.back)] * REPEATS)
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
    found = {
        "machine": machine(),
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 1),
        "model": "imagenet",
        **shape,
        "median_seconds": seconds,
    }
    write_text(arguments.out, json.dumps(found, indent=2) + "\n")
    slowest = max(seconds, key=lambda action: seconds[action]["wall"])
    print(f"slowest: {slowest}, {seconds[slowest]['wall']:.2f} s")


if __name__ == "__main__":
    main()
