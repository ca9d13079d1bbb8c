"""`fewshot evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan, nan
from pathlib import Path
from typing import Literal

from fewshot.cli.options import EpisodeOptions
from fewshot.cli.output import check_outputs, print_classes, print_rows
from fewshot.core.files import write_json
from fewshot.core.modes import Inference

RANKS = ("confusions", "taxonomy")  # what dependencies are compared with


def evaluate(
    checkpoint: Path,
    *,
    options: EpisodeOptions,
    mode: Inference = "inductive",
    proportions: Literal["unknown", "known"] = "unknown",
    json: Path | None = None,
) -> None:
    """Score a checkpoint on episodes, and prototypes on the same backbone and the very same episodes.

    Example: fewshot evaluate runs/glyphs/checkpoint.pt --way 20 --shot 5 --mode joint

    Args:
        checkpoint: What fewshot train wrote.
        options: The episodes.
        mode: Look at each query on its own, or at all queries together (transductive).
        proportions: Whether the class graph is given the classes' shares of the queries.
        json: Also write all figures to this file.
    """
    from fewshot.evaluation import scores
    from fewshot.evaluation.correlations import mean_dependencies, meaning
    from fewshot.evaluation.inputs import open_checkpoint
    from fewshot.methods.prototypes import prototypes

    check_outputs(json)
    scored = open_checkpoint(checkpoint, options.data)
    sampler = scored.sampler(options.split, **options.sampling())
    known = proportions == "known"
    predict = scores.as_predict(scored.graph, joint=mode == "joint", know_proportions=known)
    label = f"{mode}-known" if known else mode
    graph = scores.evaluate(predict, sampler, method="class-graph", mode=label)
    reference = scores.evaluate(scores.as_predict(prototypes), sampler, method="prototypes")
    difference = scores.paired_difference(graph, reference)
    names = sampler.data.class_names
    pairs = scores.hardest_pairs(graph.confusion, names)
    rows = [graph.row(), reference.row()]
    print_rows(rows)
    if len(graph.per_episode) > 1:
        print(f"class-graph - prototypes: {difference[0]:+.2f} ± {difference[1]:.2f} (paired, 95 %)\n")
    print_classes(graph.per_class, pairs)
    ranks = meaning(mean_dependencies(scored.graph.cpu(), sampler), graph.confusion, sampler.data)
    _print_ranks(ranks)
    content = {
        "checkpoint": str(checkpoint),
        "split": options.split,
        "episodes": {**options.sampling(), "proportions": proportions},
        "rows": rows,
        "difference": _numbers({"accuracy": difference[0], "ci95": difference[1]}),
        "per_class": graph.per_class,
        "hardest_pairs": pairs,
        "classes": list(names),
        "dependencies": _numbers(ranks),
        "confusion": graph.confusion.tolist(),  # row: the class, column: what it was taken for
    }
    write_json(json, content)


def _print_ranks(ranks: Mapping[str, float | int]) -> None:
    known = [f"{ranks[name]:+.2f} with {name}" for name in RANKS if not isnan(ranks.get(name, nan))]
    if known:
        pairs = ranks["pairs"]
        print(f"dependencies, rank correlation over {pairs} pairs of classes: {', '.join(known)}")


def _numbers(figures: Mapping[str, float | int]) -> dict[str, float | int | None]:
    """Figures for JSON, which has no nan."""
    return {name: None if isnan(value) else value for name, value in figures.items()}
