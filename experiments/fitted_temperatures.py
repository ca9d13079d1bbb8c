"""The class graph's probabilities with the temperatures that it learned in training, not fitted afterwards.

    python experiments/fitted_temperatures.py CHECKPOINT --data miniimagenet:PATH/tiny-imagenet-fs.tar

CHECKPOINT is of ``fewshot train --config tiny-imagenet-fs``, whose backbone is taken; the stage graph and the
test classes follow as in that training, without fitting temperatures on the validation classes. Rows go to
``experiments/results/fitted_temperatures.json``; ``tables.py`` puts them next to those of
``tiny-imagenet-fs.json``, which are with fitted temperatures.
"""

import argparse
import json
import tempfile
from pathlib import Path

import torch
from main_job import RESULTS, machine

from fewshot.core.files import write_json
from fewshot.model.few_shot import GraphFewShot
from fewshot.training import probabilities
from fewshot.training.config import read
from fewshot.training.run import train

CONFIG = "tiny-imagenet-fs"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help=f"of --config {CONFIG}")
    parser.add_argument("--data", required=True, help="SPEC of the images")
    parser.add_argument("--out", type=Path, default=RESULTS / "fitted_temperatures.json")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "backbone.pt"
        torch.save(GraphFewShot.load(given.checkpoint).backbone.state_dict(), weights)
        config = read(CONFIG, {"data": given.data, "weights": str(weights), "pretrain": None})
        probabilities.fit_temperatures = lambda *_, **__: None
        rows = json.loads((train(config, out=Path(folder) / "run") / "results.json").read_text())
    command = "python experiments/fitted_temperatures.py CHECKPOINT --data miniimagenet:PATH"
    write_json(given.out, {"command": command, "seed": config.seed, "machine": machine(), "rows": rows})


if __name__ == "__main__":
    main()
