"""The class graph on cached features: 2,000 episodes, 5-way 1-shot, 15 queries per class.

Inductive against EasyFSL's `PrototypicalNetworks`; joint, with shares known, against its `PTMAP`, `TIM` and
`LaplacianShot`: ours all episodes of a batch at once, theirs one episode at a time, on the same episodes.
They get the settings that EasyFSL publishes for them (its scripts/methods_configs.json), except that PT-MAP
makes the 10 steps of its constructor's default, not 30, which takes a quarter of the time for nearly the same
accuracy. Features are minus the base mean, except for PT-MAP, whose power transform drops negative values;
the graph's own transform, if the base features need it, is part of its time. Theirs run on fewer episodes;
`over` is our accuracy minus theirs on those, `transform_share` what the transform alone takes of our time.
"""

import argparse
from typing import Any, NamedTuple

import torch
from lines import Line
from materials import Features, features
from measure import Floor, race
from stages import conclude, parser
from torch import Tensor

from fewshot.core.memory import kept
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.scores import interval95
from fewshot.graph.class_graph import ClassGraph
from fewshot.graph.transform import PowerTransform, Transformed

WAY, SHOT, QUERY = 5, 1, 15
BATCH = 128  # of our episodes


class Peer(NamedTuple):
    """A method of EasyFSL: settings, whether its features are centred, target, tasks timed and scored."""

    settings: dict[str, Any]
    centred: bool
    target: float
    timed: int
    scored: int


PROTOTYPES = "PrototypicalNetworks"  # the peer of the inductive mode
PEERS = {
    PROTOTYPES: Peer({}, True, 8, 400, 2000),
    "PTMAP": Peer({}, False, 450, 10, 200),
    "TIM": Peer({"fine_tuning_lr": 1e-3, "conditional_entropy_weight": 0.5}, True, 150, 50, 500),
    "LaplacianShot": Peer(
        {"inference_steps": 10, "knn": 3, "lambda_regularization": 0.1}, True, 5, 400, 2000
    ),
}


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--episodes", type=int, default=2000, help="of ours in a repetition")
    options.add_argument("--share", type=float, default=1.0, help="scales the numbers of their tasks")
    options.add_argument("--repetitions", type=int, default=7)
    arguments = options.parse_args(argv)
    lines = measure(features(arguments.features), arguments)
    conclude(
        "joint",
        lines,
        arguments,
        extra=("accuracy", "theirs_accuracy", "over", "over_ci95", "transform_share"),
    )


def measure(given: Features, options: argparse.Namespace) -> list[Line]:
    sampler, centred = (
        EpisodeSampler(data, way=WAY, shot=SHOT, query=QUERY, batch=BATCH, episodes=options.episodes)
        for data in (given.test, given.centred)
    )
    episodes = list(centred)
    transform = PowerTransform().fit_if_skewed(given.centred_train.items)
    graph = Transformed(transform, ClassGraph.pretrained())
    labels = torch.cat([episode.query_labels for episode in episodes])

    @kept()  # as `evaluate` does
    def inductive() -> Tensor:
        return torch.cat([graph(e.support, e.query).logits.argmax(-1) for e in episodes])

    @kept()
    def transformed() -> None:
        for episode in episodes:
            transform(episode.support), transform(episode.query)

    @kept()
    def joint() -> Tensor:
        outputs = (graph(e.support, e.query, joint=True, proportions=e.proportions) for e in episodes)
        return torch.cat([output.logits.argmax(-1) for output in outputs])

    def counted(tasks: int) -> int:
        return min(options.episodes, max(1, round(options.share * tasks)))

    contenders: dict[str, Any] = {"inductive": inductive, "joint": joint, "transform": transformed}
    scores: dict[str, Tensor] = {}
    note = ""
    with torch.no_grad():
        hits = {"inductive": accuracies(inductive(), labels), "joint": accuracies(joint(), labels)}
        try:
            import easy
            import easyfsl.methods

            for name, peer in PEERS.items():
                mean = given.mean if peer.centred else None
                model = getattr(easyfsl.methods, name)(
                    feature_centering=mean, feature_normalization=2, **peer.settings
                ).eval()
                tasks = easy.tasks(sampler, counted(peer.scored))
                scores[name] = accuracies(torch.stack(easy.classify(model, tasks)), labels)
                few = tasks[: counted(peer.timed)]
                contenders[name] = lambda model=model, few=few: easy.classify(model, few)
        except ImportError as error:
            note = str(error)
        times = race(contenders, options.repetitions)
    floor = least(given.test.items.shape[1], options.episodes)
    lines = []
    for name, peer in PEERS.items():
        mode = "inductive" if name == PROTOTYPES else "joint"
        extra = compared(hits[mode], scores.get(name))
        extra["figures"]["transform_share"] = times["transform"].median / times[mode].median
        line = Line(
            f"class graph, {mode}", f"EasyFSL {name}", times[mode], times.get(name), peer.target,
            per=options.episodes, theirs_per=counted(peer.timed), floor=floor if mode == "joint" else None,
            note=note, **extra,
        )  # fmt: skip
        lines.append(line)
    return lines


def accuracies(predicted: Tensor, labels: Tensor) -> Tensor:
    """Accuracy in percent of each episode [episodes], for as many episodes as were predicted."""
    return 100 * (predicted == labels[: len(predicted)]).double().mean(1)


def compared(ours: Tensor, theirs: Tensor | None) -> dict[str, Any]:
    """Both accuracies on the common episodes, and whether ours is not clearly below theirs."""
    if theirs is None:
        return {"figures": {"accuracy": ours.mean().item()}}
    here = ours[: len(theirs)]
    difference, interval = interval95(here - theirs)
    figures = {
        "accuracy": here.mean().item(),
        "theirs_accuracy": theirs.mean().item(),
        "over": difference,
        "over_ci95": interval,
        "scored_on": len(theirs),
    }
    return {"figures": figures, "as_good": not difference + interval < 0}


def operations(size: int, steps: int = 8, suppressed: int = 2, directions: int = 3) -> float:
    """The least number of operations of the joint mode, whose vectors are all sums of the episode's images.

    That is the images' inner products once, their products with the classes' weights in each round, and in a
    round that suppresses the spread within classes as many again as there are directions.
    """
    images = WAY * (SHOT + QUERY)
    return 2 * images * (images * size + images * WAY * (steps + suppressed * directions))


def least(size: int, episodes: int) -> Floor:
    """These operations, and each image's features read once."""
    return Floor(episodes * operations(size), episodes * WAY * (SHOT + QUERY) * 4 * size)


if __name__ == "__main__":
    main()
