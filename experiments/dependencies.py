"""What dependencies mean: their rank correlation with the model's confusions and with the taxonomy.

    python experiments/dependencies.py runs/tiny-imagenet-fs/checkpoint.pt --data miniimagenet:PATH

writes ``experiments/results/dependencies.json``.
"""

import argparse
import json
from pathlib import Path

from main_job import RESULTS, machine

from fewshot.evaluation.correlations import mean_dependencies, meaning
from fewshot.evaluation.inputs import open_checkpoint
from fewshot.evaluation.scores import as_predict, evaluate


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", help="SPEC of the data, if it does not come with the package")
    parser.add_argument("--episodes", type=int, default=1000)
    arguments = parser.parse_args()
    source = open_checkpoint(arguments.checkpoint, arguments.data)
    rows = {}
    for split in ("val", "test"):
        sampler = source.sampler(split, way=10, shot=5, query=15, episodes=arguments.episodes, seed=0)
        scores = evaluate(as_predict(source.graph), sampler, method="class-graph")
        ranks = meaning(mean_dependencies(source.graph, sampler), scores.confusion, sampler.data)
        rows[split] = {**scores.row(), "rank_correlation": ranks}
        print(split, ranks)
    content = {"seed": 0, "machine": machine(), "rows": rows}
    (RESULTS / "dependencies.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
