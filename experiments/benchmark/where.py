"""Where our time goes: what separates a stage from the machine's limit.

Under torch's profiler, the share of the time that each kind of operator takes itself, and how many there are;
*outside* is the time between operators: Python, numpy, and the profiler, which makes small operators seem
more expensive than they are.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import joint
import meta_training
import torch
import training
from materials import Features, features, images
from measure import machine
from stages import parser, write
from torch.profiler import profile

from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.scores import as_predict, evaluate
from fewshot.graph.class_graph import ClassGraph
from fewshot.graph.transform import PowerTransform, Transformed
from fewshot.methods.prototypes import prototypes

KINDS = {  # an operator belongs to the first kind one of whose words is in its name
    "convolutions": ("convolution",),
    "norm and pooling": ("norm", "pool"),
    "matrix products": ("mm",),
    "gathering": ("index", "gather"),
}
WAY, SHOT, QUERY = 5, 1, 15


def works(given: Features, options: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    """Our work in each stage."""
    shape = {"way": WAY, "shot": SHOT, "query": QUERY, "episodes": options.episodes}
    sampler = EpisodeSampler(given.centred, **shape)
    unseen = EpisodeSampler(given.centred, **shape, gather=False)
    together = list(EpisodeSampler(given.centred, **shape, batch=joint.BATCH))
    learnt = list(EpisodeSampler(given.centred_train, **shape, batch=50))
    transform = PowerTransform().fit_if_skewed(given.centred_train.items)
    graph = Transformed(transform, ClassGraph.pretrained())
    photographs = images(options.data, size=32, count=100)
    photographs = replace(photographs, items=photographs.items.clone(), path=None)
    settings = argparse.Namespace(steps=options.steps, batch=1, device="cpu")

    @torch.no_grad()
    def jointly() -> None:
        for episode in together:
            graph(episode.support, episode.query, joint=True, proportions=episode.proportions)

    return {
        "sampling: indices alone": lambda: list(unseen),
        "evaluation: whole evaluation": lambda: evaluate(as_predict(prototypes), sampler, method=""),
        "joint: class graph": jointly,
        "meta training: graph, all modes": lambda: meta_training.train(learnt, False),
        "training: conv4 32×32, eager": training.ours(photographs, 32, settings),
    }


def shares(work: Callable[[], Any]) -> dict[str, float]:
    """Each kind of operator's share of the time, after a warm-up run, and the number of operators."""
    work()
    with profile() as profiled:
        start = time.perf_counter()
        work()
        wall = 1e6 * (time.perf_counter() - start)
    found = dict.fromkeys([*KINDS, "other operators"], 0.0)
    count = 0
    for operator in profiled.key_averages():
        name = operator.key
        if "::" not in name or name.startswith("autograd"):
            continue
        kind = next((k for k, words in KINDS.items() if any(w in name for w in words)), "other operators")
        found[kind] += operator.self_cpu_time_total / wall
        count += operator.count if operator.self_cpu_time_total else 0
    return {**found, "outside": 1 - sum(found.values()), "operators": count}


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--episodes", type=int, default=2000)
    options.add_argument("--steps", type=int, default=20, help="of the training")
    arguments = options.parse_args(argv)
    found = {name: shares(work) for name, work in works(features(arguments.features), arguments).items()}
    width = max(map(len, found))
    for name, own in found.items():
        large = {kind: share for kind, share in own.items() if kind != "operators" and share > 0.005}
        parts = ", ".join(f"{kind} {share:.0%}" for kind, share in large.items())
        print(f"{name:{width}}  {parts}; {own['operators']:,} operators")
    settings = {"episodes": arguments.episodes, "steps": arguments.steps}
    write(arguments.results / "where.json", {"options": settings, "machine": machine(), "shares": found})


if __name__ == "__main__":
    main()
