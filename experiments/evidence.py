"""What evidence is worth: half of 20 classes absent, told to the graph or their columns struck out after.

    python experiments/evidence.py FEATURES.npz

scores 20-way 1-shot episodes of the test classes, joint, and writes ``experiments/results/evidence.json``.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from ablation import evidence_rows
from main_job import RESULTS, machine

from fewshot.data import FeatureSet
from fewshot.graph import ClassGraph


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("features", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--episodes", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    data = FeatureSet.from_npz(arguments.features, arguments.split)
    data = replace(data, items=data.items - FeatureSet.from_npz(arguments.features, "train").mean())
    rows = evidence_rows(ClassGraph.pretrained(), data, arguments.episodes, arguments.seed)
    content = {"split": arguments.split, "seed": arguments.seed, "machine": machine(), "rows": rows}
    (RESULTS / "evidence.json").write_text(json.dumps(content, indent=1) + "\n")
    print(rows)


if __name__ == "__main__":
    main()
