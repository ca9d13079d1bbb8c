"""Accuracy against the number of known classes, with relations true, coarse, by looks and shuffled.

    python experiments/known_classes.py FEATURES.npz [--classes CLASSES] [--split val]

scores 5-way 1-shot episodes, inductive, with the shipped weights. Each batch of 25 episodes draws an order of
the known classes (those of the train split), of which the first 1, 2, 4, … are given. Differences from no
relations are paired by episode; their intervals are of the batches' means. (To a single known class all
relations are alike, which says nothing.) Writes ``experiments/results/known_classes.json`` and, next to it,
the picture ``known_classes.png``; ``--picture`` draws the kept figures again.

The paths are those of the file, or of its wnids; ``--classes`` takes them from a table instead: a CSV with
the columns ``class`` or ``wnid`` and ``path``, or a .tar that holds one as ``classes.csv``.
"""

import argparse
import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from features import features_parser
from known_classes_picture import draw
from main_job import RESULTS, machine
from torch import Tensor

from fewshot.core.taxonomy import cut, shuffled, similarity
from fewshot.data.class_table import ClassTable, parse_class_table, read_class_table
from fewshot.data.labelled import LabelledSet
from fewshot.episodes.episode import Episode
from fewshot.evaluation.inputs import ScoredData, open_source
from fewshot.evaluation.relations import looks
from fewshot.evaluation.scores import interval95
from fewshot.graph.known_classes import KnownClasses

SIZES = (1, 2, 4, 8, 16, 32, 64)
BELIEFS = {"judged": None, "believed": 1.0}
FILE = RESULTS / "known_classes.json"


def read_table(path: Path) -> ClassTable:
    if path.suffix != ".tar":
        return read_class_table(path, needs=["path"])
    with tarfile.open(path) as tar:
        name = next(name for name in tar.getnames() if Path(name).name == "classes.csv")
        return parse_class_table(tar.extractfile(name).read(), name, needs=["path"])


def with_paths(data: LabelledSet, table: ClassTable) -> LabelledSet:
    return replace(data, paths=tuple(table[name].path for name in data.class_names))


def all_relations(data: LabelledSet, known: KnownClasses) -> dict[str, Tensor]:
    """The relations that do not depend on the episode, each [classes, C]."""
    true = similarity(data.paths, known.paths)
    return {
        "true": true,
        "coarse": similarity(cut(data.paths), cut(known.paths)),
        "shuffled": true[shuffled(len(true))],
    }


def episode_accuracy(logits: Tensor, episode: Episode) -> Tensor:
    return 100 * (logits.argmax(-1) == episode.query_labels).double().mean(1)


def score_batch(
    source: ScoredData, known: Tensor, relations: dict[str, Tensor], episode: Episode, order: Tensor
) -> Iterator[tuple[tuple[int, str, str], Tensor]]:
    """Accuracies [B] by number of known classes, kind of relations and belief; 0 known classes: without."""

    def accuracy(**options) -> Tensor:
        return episode_accuracy(source.graph(episode.support, episode.query, **options).logits, episode)

    yield (0, "none", ""), accuracy()
    rows = {kind: matrix[episode.classes] for kind, matrix in relations.items()}
    rows["by looks"] = looks(source.transform(episode.support), None, known)
    for size in SIZES:
        some = order[:size]
        if len(some) < size:
            break
        for kind, matrix in rows.items():
            for name, belief in BELIEFS.items():
                given = {"known": known[some], "relations": matrix[..., some], "belief": belief}
                yield (size, kind, name), accuracy(**given)


@torch.no_grad()
def measure(source: ScoredData, split: str, episodes: int, seed: int) -> dict:
    known, data = source.known_classes(), source.features(split)
    known = known.without(data.class_names)
    relations = all_relations(data, known)
    sampler = source.sampler(split, way=5, shot=1, query=15, episodes=episodes, batch=25, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    found: dict[tuple[int, str, str], list[Tensor]] = {}
    for number, episode in enumerate(sampler):
        order = torch.randperm(len(known), generator=generator)
        for key, accuracies in score_batch(source, known.prototypes, relations, episode, order):
            found.setdefault(key, []).append(accuracies)
        print(f"{(number + 1) * sampler.batch} of {episodes} episodes", flush=True)
    without = found.pop((0, "none", ""))
    accuracy, ci95 = interval95(torch.cat(without))
    return {
        "split": split,
        "seed": seed,
        "episodes": episodes,
        "draws": len(without),
        "fingerprint": sampler.fingerprint(),
        "without": {"accuracy": round(accuracy, 3), "ci95": round(ci95, 3)},
        "rows": [_row(key, values, without) for key, values in found.items()],
    }


def _row(key: tuple[int, str, str], values: list[Tensor], without: list[Tensor]) -> dict:
    means = torch.stack([(x - y).mean() for x, y in zip(values, without, strict=True)])
    over, ci95 = interval95(means)
    accuracy = round(torch.cat(values).mean().item(), 3)
    names = dict(zip(("known", "relations", "belief"), key, strict=True))
    return {**names, "accuracy": accuracy, "over_none": round(over, 3), "ci95": round(ci95, 3)}


def run(arguments: argparse.Namespace) -> dict:
    source = open_source(arguments.features)
    if arguments.classes:
        table = read_table(arguments.classes)
        splits = {name: with_paths(data, table) for name, data in source.splits.items()}
        source = replace(source, splits=splits)
    command = "python experiments/known_classes.py FEATURES.npz"
    command += " --classes CLASSES" if arguments.classes else ""
    command += f" --split {arguments.split} --episodes {arguments.episodes} --seed {arguments.seed}"
    measured = measure(source, arguments.split, arguments.episodes, arguments.seed)
    return {"command": command, **measured, "machine": machine()}


def main() -> None:
    parser = features_parser(__doc__)
    parser.add_argument("--classes", type=Path, help="a table with the classes' paths, .csv or .tar")
    parser.add_argument("--picture", action="store_true", help="only draw the kept figures again")
    parser.add_argument("--out", type=Path, default=FILE, help="the figures; the picture is next to them")
    arguments = parser.parse_args()
    if not arguments.picture:
        arguments.out.write_text(json.dumps(run(arguments), indent=1) + "\n")
    draw(arguments.out.with_suffix(".png"), json.loads(arguments.out.read_text()))


if __name__ == "__main__":
    main()
