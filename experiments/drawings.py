"""Drawings of the same things by two artists, through the ready model: what names are worth.

    python experiments/drawings.py DRAWINGS [--sets 30] [--way 20] [--seed 0]

writes ``experiments/results/drawings.json``. DRAWINGS is a folder with one folder per thing, each with one
image per artist, and ``names.csv`` with the things' names. Each set has ``way`` things; which artist's
drawings are the supports is drawn at random, the other's are the queries. Everything goes through the
functions of ``fewshot predict``. Shuffled: each class has the name of another one.
"""

import argparse
import csv
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
from main_job import RESULTS, machine

from fewshot.core.taxonomy import shuffled
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.predict import predict

WAYS = {  # how each row calls `predict`
    "inductive": {},
    "inductive, no names": {"relations": "none"},
    "inductive, shuffled names": {"relations": "shuffled"},
    "joint": {"mode": "joint"},
    "joint, no names": {"mode": "joint", "relations": "none"},
    "joint, shuffled names": {"mode": "joint", "relations": "shuffled"},
    "joint, equal shares": {"mode": "joint", "proportions": "equal"},
    "joint, equal shares, no names": {"mode": "joint", "proportions": "equal", "relations": "none"},
}


def lay_out(drawings: Path, things: list[str], support: str, folder: Path) -> None:
    """A support folder and a query folder of these things."""
    for thing in things:
        for file in (drawings / thing).iterdir():
            home = folder / ("support" if file.stem == support else "query") / thing
            home.mkdir(parents=True)
            shutil.copy(file, home)


def write_names(file: Path, things: list[str], names: dict[str, str], order: np.ndarray) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(["class", "name"])
        rows.writerows([thing, names[things[place]]] for thing, place in zip(things, order, strict=True))


def accuracies(model: GraphFewShot, folder: Path, shuffled_names: Path) -> dict[str, float]:
    """The accuracy of each way of calling `predict`."""
    scores = {}
    for title, options in WAYS.items():
        given = dict(options)
        if given.get("relations") == "shuffled":
            given["relations"] = str(shuffled_names)
        found = predict(model, folder / "support", folder / "query", **given)
        scores[title] = 100 * float(np.mean([p.name == p.file.parent.name for p in found]))
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("drawings", type=Path)
    parser.add_argument("--sets", type=int, default=30)
    parser.add_argument("--way", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--use-table", action="store_true", help="names of names.csv, not of the folders")
    arguments = parser.parse_args()
    model = GraphFewShot.load("imagenet")
    with (arguments.drawings / "names.csv").open(encoding="utf-8") as file:
        names = {row["class"]: row["name"] for row in csv.DictReader(file)}
    if not arguments.use_table:
        names = {thing: thing for thing in names}
    rng, rows = np.random.default_rng(arguments.seed), []
    for number in range(arguments.sets):
        things = sorted(rng.choice(sorted(names), arguments.way, replace=False).tolist())
        artist = str(rng.choice(["google", "twitter"]))
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            lay_out(arguments.drawings, things, artist, folder)
            if arguments.use_table:
                write_names(folder / "support" / "names.csv", things, names, np.arange(len(things)))
            wrong = shuffled(len(things), arguments.seed + number).numpy()
            write_names(folder / "shuffled.csv", things, names, wrong)
            rows.append(accuracies(model, folder, folder / "shuffled.csv"))
    content = {"seed": arguments.seed, "sets": arguments.sets, "way": arguments.way, "machine": machine()}
    content["names"] = "names.csv" if arguments.use_table else "folders"
    content["rows"] = {}
    for title in WAYS:
        values = np.array([row[title] for row in rows])
        half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
        content["rows"][title] = {"accuracy": round(values.mean(), 2), "ci95": round(half, 2)}
        print(f"{title}: {values.mean():.2f} ± {half:.2f}")
    (RESULTS / "drawings.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
