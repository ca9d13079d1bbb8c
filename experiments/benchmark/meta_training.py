"""Meta-training of the class graph on cached features: 1,000 episodes, 5-way 1-shot, 15 queries per class.

Forward, backward and an optimiser step per batch of 50 episodes, with all modes in the loss. Against the same
with a Python loop over the episodes of each batch, whose gradients add up to the same.
"""

import argparse

import torch
from joint import QUERY, SHOT, WAY, operations
from lines import Line
from materials import Features, features
from measure import Floor, race
from stages import conclude, parser

from fewshot.episodes.episode import Episode
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.graph.class_graph import ClassGraph
from fewshot.training.losses import GraphLoss

JOINT_MODES = 3  # of the four modes in the loss; the other one is inductive


def train(episodes: list[Episode], one_by_one: bool, kind: torch.dtype = torch.float32) -> list[torch.Tensor]:
    """One step per batch, from the same start; returns the weights."""
    loss = GraphLoss(ClassGraph()).to(kind)
    optimizer = torch.optim.AdamW(loss.parameters(), 1e-3)
    for episode in episodes:
        optimizer.zero_grad()
        parts = len(episode) if one_by_one else 1
        fields = (episode.support, episode.query, episode.query_labels, episode.proportions)
        for part in zip(*(field.chunk(parts) for field in fields), strict=True):
            (loss(*part)[0] / parts).backward()
        optimizer.step()
    return [value.detach() for value in loss.parameters()]


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--episodes", type=int, default=1000, help="of ours in a repetition")
    options.add_argument("--few", type=int, default=50, help="of the loop in a repetition")
    options.add_argument("--batch", type=int, default=50)
    options.add_argument("--repetitions", type=int, default=5)
    arguments = options.parse_args(argv)
    conclude("meta_training", measure(features(arguments.features), arguments), arguments)


def measure(given: Features, options: argparse.Namespace) -> list[Line]:
    data = given.centred_train
    many, few = (
        list(EpisodeSampler(data, way=WAY, shot=SHOT, query=QUERY, batch=options.batch, episodes=count))
        for count in (options.episodes, options.few)
    )
    times = race({"ours": lambda: train(many, False), "loop": lambda: train(few, True)}, options.repetitions)
    # In double precision, as AdamW's first steps go by the signs of gradients, however small.
    weights = [train(few, one_by_one, torch.float64) for one_by_one in (False, True)]
    gap = max((a - b).abs().max().item() for a, b in zip(*weights, strict=True))
    size = data.items.shape[1]
    # Backward takes two products for each one forward.
    each = 3 * JOINT_MODES * operations(size)
    floor = Floor(options.episodes * each, options.episodes * WAY * (SHOT + QUERY) * 4 * size)
    return [
        Line(
            "graph, all modes", "a loop over episodes", times["ours"], times["loop"], 10,
            per=options.episodes, theirs_per=options.few, floor=floor, figures={"weights_apart": gap},
        )
    ]  # fmt: skip


if __name__ == "__main__":
    main()
