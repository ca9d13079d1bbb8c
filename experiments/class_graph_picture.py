"""Draw the class graph of one test episode: the picture of the README.

    python experiments/class_graph_picture.py runs/glyphs/checkpoint.pt

writes ``experiments/results/class_graph.png``.
"""

import argparse
from pathlib import Path

from main_job import RESULTS

from fewshot import GraphFewShot, load
from fewshot.report.class_graph import save
from fewshot.report.example import draw_example


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", default="glyphs", help="SPEC (default glyphs)")
    parser.add_argument("--way", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    model = GraphFewShot.load(arguments.checkpoint)
    data = load(arguments.data, size=model.preprocess.size, channels=model.preprocess.channels)
    example = draw_example(model, data.test, way=arguments.way, shot=5, query=1, seed=arguments.seed)
    print(save(RESULTS / "class_graph.png", example.picture()))


if __name__ == "__main__":
    main()
