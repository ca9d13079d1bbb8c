"""The ready model on photographs whose classes are taken out of its known ones, 5-way and 20-way.

    python experiments/ready_model.py ARCHIVE [--split test] [--images 60] [--size 192] [--episodes 2000]

writes ``experiments/results/ready_model.json``. ARCHIVE is ``tiny-imagenet-fs.tar``, in whose
``classes.csv`` are the classes that are taken out. The first ``images`` photographs of each class are
encoded. The size of the pictures and the base mean were chosen with ``--split val`` and ``--split train``.
The backbone was trained on ImageNet and saw these classes: the figures say what relations and known classes
add, and are no few-shot benchmark.
"""

import argparse
import json
from pathlib import Path

import torch
from main_job import RESULTS, machine

from fewshot.core.taxonomy import similarity
from fewshot.data.class_table import parse_class_table
from fewshot.data.labelled import LabelledSet
from fewshot.data.loading import load
from fewshot.data.readers.archives import open_archive
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.relations import Relations
from fewshot.evaluation.scores import as_predict, evaluate, paired_difference
from fewshot.methods.prototypes import prototypes
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.names import without


def encoded(model: GraphFewShot, archive: str, split: str, images: int) -> LabelledSet:
    """The features of the first photographs of each class."""
    data = getattr(load(f"miniimagenet:{archive}"), split)
    keep = torch.cat([(data.labels == c).nonzero()[:images, 0] for c in range(data.num_classes)])
    names = {"class_names": data.class_names, "paths": data.paths}
    return model.features(LabelledSet(data.items[keep], data.labels[keep], **names))


def zero_shot(model: GraphFewShot, data: LabelledSet, relations: Relations, way: int, episodes: int) -> float:
    """The accuracy without any support."""
    sampler = EpisodeSampler(data, way=way, shot=1, query=15, batch=50, episodes=episodes, seed=0)
    right = total = 0
    for episode in sampler:
        mask = torch.zeros(episode.support.shape[:3], dtype=torch.bool)
        classes = torch.ones(mask.shape[:2], dtype=torch.bool)
        options = {"known": relations.known.prototypes, "relations": relations.rows[episode.classes]}
        with torch.no_grad():
            found = model.graph(
                episode.support, episode.query, support_mask=mask, class_mask=classes, **options
            )
        right += int((found.logits.argmax(-1) == episode.query_labels).sum())
        total += episode.query_labels.numel()
    return 100 * right / total


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archive")
    parser.add_argument("--split", default="test")
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--size", type=int)
    parser.add_argument("--episodes", type=int, default=2000)
    arguments = parser.parse_args()
    model = GraphFewShot.load("imagenet")
    if arguments.size is not None:
        model.preprocess.size = arguments.size
    content = dict(open_archive(Path(arguments.archive)).read(["classes.csv"]))["classes.csv"]
    known = without(model.known, parse_class_table(content, "classes.csv"))
    data = encoded(model, arguments.archive, arguments.split, arguments.images)
    rows = similarity(data.paths, known.paths)
    relations = Relations("taxonomy", known, rows, similarity(known.paths, known.paths))
    result = {
        "seed": 0,
        "machine": machine(),
        "known classes": len(known),
        "images per class": arguments.images,
    }
    result |= {"split": arguments.split, "size": model.preprocess.size, "rows": []}
    for way, shot in ((5, 1), (20, 1), (5, 5)):
        if way > data.num_classes:
            continue
        options = {"way": way, "shot": shot, "query": 15, "episodes": arguments.episodes, "seed": 0}
        sampler = EpisodeSampler(data, **options)
        plain = evaluate(as_predict(prototypes), sampler, method="prototypes")
        for title, given, belief in (
            ("none", None, None),
            ("names", relations, None),
            ("believed", relations, 1.0),
        ):
            for joint in (False, True):
                call = as_predict(model.graph, joint=joint, relations=given, belief=belief)
                found = evaluate(call, sampler, method="class-graph")
                above, half = paired_difference(found, plain)
                row = {"way": way, "shot": shot, "joint": joint, "relations": title}
                row |= {
                    "prototypes": plain.accuracy,
                    "accuracy": found.accuracy,
                    "above": above,
                    "ci95": half,
                }
                result["rows"].append(row)
                print({k: round(v, 2) if isinstance(v, float) else v for k, v in row.items()}, flush=True)
        if shot == 1:
            found = zero_shot(model, data, relations, way, arguments.episodes)
            result["rows"].append({"way": way, "shot": 0, "accuracy": found})
            print(f"{way}-way without images: {found:.2f}", flush=True)
    (RESULTS / "ready_model.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
