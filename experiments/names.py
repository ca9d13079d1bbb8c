"""How often names are taken for the right synset: CIFAR-100's classes and those of ImageNet.

    python experiments/names.py

writes ``experiments/results/names.json``: of random sets of 5 and 20 names, how many per cent have the
right synset: the first one, by the name alone, with the other names, and with known classes as well.
ImageNet's classes are called by the first word of their synset; CIFAR-100's synsets are those of
``cifar_synsets.csv``. Sets that people make are more alike than random ones, so the other names count more
than is best here.
"""

import csv
import json
from pathlib import Path

import numpy as np
from main_job import RESULTS

from fewshot.core.class_names import choose, look_up
from fewshot.core.wordnet import wordnet
from fewshot.model.ready import imagenet_wnids

HERE = Path(__file__).parent


def named() -> dict[str, list[tuple[str, str]]]:
    """Names and identifiers of the classes."""
    words = wordnet()
    with (HERE / "cifar_synsets.csv").open(encoding="utf-8") as file:
        cifar = [(row["class"], row["wnid"]) for row in csv.DictReader(file)]
    return {
        "cifar-100": cifar,
        "imagenet": [(words.path(words.sense_of(wnid))[-1], wnid) for wnid in imagenet_wnids()],
    }


def main() -> None:
    words, rng, rows = wordnet(), np.random.default_rng(0), []
    known = [words.path(words.sense_of(wnid)) for wnid in imagenet_wnids()]
    for name, classes in named().items():
        for size in (5, 20):
            right = {"first sense": 0, "alone": 0, "together": 0, "together, known classes": 0}
            total = 0
            for _ in range(200 // size):
                some = [classes[i] for i in rng.choice(len(classes), size, replace=False)]
                found = [look_up(label) for label, _ in some]
                wnids = [wnid for _, wnid in some]
                # A known class's own path would give its sense away.
                others = [
                    path for path, wnid in zip(known, imagenet_wnids(), strict=True) if wnid not in wnids
                ]
                taken = {
                    "first sense": [words.wnid(f.senses[0]) if f.senses else "" for f in found],
                    "alone": [choose([f], others)[0].wnid for f in found],
                    "together": [m.wnid for m in choose(found)],
                    "together, known classes": [m.wnid for m in choose(found, others)],
                }
                for key, got in taken.items():
                    right[key] += sum(a == b for a, b in zip(got, wnids, strict=True))
                total += size
            row = {"classes": name, "names": size, **{k: round(100 * v / total, 1) for k, v in right.items()}}
            rows.append(row)
            print(row, flush=True)
    (RESULTS / "names.json").write_text(json.dumps({"seed": 0, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
