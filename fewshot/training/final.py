"""Scores of the test classes, once, at the end of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from fewshot.data.packed import PackedDataset
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.evaluation.prototype_scale import calibrated_prototypes
from fewshot.evaluation.relations import Relations, with_paths
from fewshot.evaluation.scores import MODES, Scores, as_predict, evaluate, in_mode
from fewshot.model.few_shot import GraphFewShot
from fewshot.training.config import Config, Evaluate
from fewshot.training.encoding import encoded
from fewshot.training.processes import ALONE, Workers
from fewshot.training.samplers import drawn_from, located


@dataclass(frozen=True)
class FinalEvaluation:
    """The test classes with their episodes: each way with each shot of the config's section `evaluate`.

    Args:
        images: of the test classes.
        samplers: of their episodes, each of this process's share.
        graph: whether to score the class graph as well as prototypes.
        workers: the processes that share the images and the episodes.
    """

    images: PackedDataset
    samplers: Sequence[EpisodeSampler]
    graph: bool
    workers: Workers = ALONE

    def scores(self, model: GraphFewShot) -> list[Scores]:
        """The scores of prototypes, and of the graph in each mode, on all episodes of all processes.

        If the test classes and the known ones have paths, the graph is scored a second time with relations.
        """
        features = encoded(model, self.images, self.workers)
        methods = [("prototypes", "inductive", "none", as_predict(calibrated_prototypes(model)))]
        if self.graph:
            related = self.relations(model)
            methods += [
                ("class-graph", mode, given.kind if given else "none", in_mode(model.classify, mode, given))
                for given in ([None, related] if related else [None])
                for mode in MODES
            ]

        return [
            evaluate(
                predict,
                drawn_from(sampler, features),
                method=method,
                mode=mode,
                relations=relations,
                gather=self.workers.gather,
            )
            for sampler in self.samplers
            for method, mode, relations, predict in methods
        ]

    def relations(self, model: GraphFewShot) -> Relations | None:
        """The taxonomy's relations of the test classes to the model's known ones; None without paths."""
        return with_paths(self.images, model.known, model.transform)


def final_evaluation(config: Config, test: PackedDataset, workers: Workers = ALONE) -> FinalEvaluation:
    """The final evaluation of a run.

    Raises:
        InputError: names the way, shot or queries that the test classes cannot serve.
    """
    with located("evaluate (test split)"):
        samplers = _samplers(config.evaluate, test, workers)
        return FinalEvaluation(test, samplers, config.scores_graph, workers)


def _samplers(options: Evaluate, test: PackedDataset, workers: Workers) -> list[EpisodeSampler]:
    return [
        EpisodeSampler(
            test,
            way=way,
            shot=shot,
            query=options.query,
            episodes=options.episodes,
            seed=options.seed,
            rank=workers.rank,
            world=workers.world,
        )
        for way, shot in product(options.ways, options.shots)
    ]
