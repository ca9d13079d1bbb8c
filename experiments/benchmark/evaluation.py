"""Scoring prototypes on cached features: 10,000 episodes, 5-way 1-shot with 15 queries per class.

Against EasyFSL's `PrototypicalNetworks`, episode by episode: the whole evaluation, from the features to a
score, through EasyFSL's loader and `evaluate`; and the method alone, on existing episodes. Ours also draws
the episodes, and computes interval, calibration, confusions and fingerprint; theirs need not draw them.
"""

import argparse

import torch
from lines import Line
from materials import Features, features
from measure import Floor, race
from stages import conclude, parser

from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.scores import as_predict, evaluate
from fewshot.methods.prototypes import prototypes

WAY, SHOT, QUERY = 5, 1, 15


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--episodes", type=int, default=10_000, help="of ours in a repetition")
    options.add_argument("--tasks", type=int, default=500, help="of theirs in a repetition")
    options.add_argument("--repetitions", type=int, default=9)
    arguments = options.parse_args(argv)
    lines = measure(features(arguments.features), arguments)
    conclude("evaluation", lines, arguments, extra=("accuracy", "theirs_accuracy"))


def measure(given: Features, options: argparse.Namespace) -> list[Line]:
    data = given.centred
    sampler, few = (
        EpisodeSampler(data, way=WAY, shot=SHOT, query=QUERY, episodes=count)
        for count in (options.episodes, options.tasks)
    )
    ready = list(few)

    def whole() -> float:
        return evaluate(as_predict(prototypes), sampler, method="prototypes").accuracy

    def method() -> None:
        for episode in ready:
            prototypes(episode.support, episode.query)

    contenders = {"whole": whole, "method": method}
    note, score = "", None
    try:
        import easy
        from easyfsl.methods import PrototypicalNetworks

        model = PrototypicalNetworks(feature_normalization=2).eval()
        theirs, single = easy.evaluation(model, few), easy.tasks(few, options.tasks)
        contenders |= {"theirs": theirs, "their method": lambda: easy.classify(model, single)}
        score = 100 * theirs()
    except ImportError as error:
        note = str(error)
    with torch.no_grad():
        times = race(contenders, options.repetitions)
    row = data.items[0].nbytes
    # Per image: a product with each prototype, and its length; read from the set, written, and read again.
    images, queries = WAY * (SHOT + QUERY), WAY * QUERY
    operations = 2 * data.items.shape[1] * (queries * WAY + images)
    peer = "EasyFSL PrototypicalNetworks"
    return [
        Line(
            "whole evaluation", f"{peer}, evaluate", times["whole"], times.get("theirs"), 25,
            per=options.episodes, theirs_per=options.tasks, note=note,
            floor=Floor(options.episodes * operations, options.episodes * 3 * images * row),
            figures={"accuracy": whole(), "theirs_accuracy": score},
        ),
        Line(
            "method alone", peer, times["method"], times.get("their method"), 25,
            per=options.tasks, note=note,
            floor=Floor(options.tasks * operations, options.tasks * images * row),
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
