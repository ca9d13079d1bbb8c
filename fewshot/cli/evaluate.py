"""`fewshot evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan, nan
from pathlib import Path
from typing import Literal

from fewshot.cli.options import Classes, Mode, Split, episode_options
from fewshot.cli.output import check_outputs, print_classes, print_rows
from fewshot.core.files import write_json

RANKS = ("confusions", "taxonomy")  # what dependencies are compared with


def evaluate(
    checkpoint: Path,
    *,
    data: str | None = None,
    split: Split = "test",
    way: int = 5,
    shot: int = 1,
    query: int = 15,
    episodes: int = 2000,
    seed: int = 0,
    mode: Mode = "inductive",
    classes: Classes = "uniform",
    queries: str = "balanced",
    proportions: Literal["unknown", "known"] = "unknown",
    label_noise: float = 0.0,
    json: Path | None = None,
) -> None:
    """Score a checkpoint on episodes, beside prototypes on the same backbone and the very same episodes.

    Example: fewshot evaluate runs/glyphs/checkpoint.pt --way 20 --shot 5 --mode joint

    Args:
        checkpoint: What fewshot train wrote.
        data: KIND[:PATH]; default what the checkpoint was trained on.
        split: Whose classes.
        way: Classes an episode.
        shot: Supports a class.
        query: Queries a class.
        episodes: How many episodes.
        seed: Of the episodes.
        mode: Look at each query on its own, or at all queries together (transductive).
        classes: Any classes, or such as are near each other.
        queries: The classes' shares of the queries: balanced, or dirichlet:A (smaller A, more unequal).
        proportions: Whether the class graph is told these shares.
        label_noise: Share of the supports that carry a wrong label.
        json: Also write all figures to this file.
    """
    from fewshot.evaluation import scores as ev
    from fewshot.evaluation.correlations import mean_dependencies, meaning
    from fewshot.evaluation.inputs import open_checkpoint
    from fewshot.methods.prototypes import prototypes

    check_outputs(json)
    source = open_checkpoint(checkpoint, data)
    options = episode_options(way, shot, query, episodes, seed, classes, queries, label_noise)
    sampler = source.sampler(split, **options)
    known = proportions == "known"
    label = f"{mode}-known" if known else mode
    graph = ev.evaluate(
        ev.as_predict(source.graph, joint=mode == "joint", know_proportions=known),
        sampler,
        method="class-graph",
        mode=label,
    )
    yardstick = ev.evaluate(ev.as_predict(prototypes), sampler, method="prototypes")
    difference = ev.paired_difference(graph, yardstick)
    names = sampler.data.class_names
    pairs = ev.hardest_pairs(graph.confusion, names)
    rows = [graph.row(), yardstick.row()]
    print_rows(rows)
    if len(graph.per_episode) > 1:
        print(f"class-graph - prototypes: {difference[0]:+.2f} ± {difference[1]:.2f} (paired, 95 %)\n")
    print_classes(graph.per_class, pairs)
    ranks = meaning(mean_dependencies(source.graph.cpu(), sampler), graph.confusion, sampler.data)
    told = ", ".join(f"{ranks[name]:+.2f} with {name}" for name in RANKS if not isnan(ranks.get(name, nan)))
    if told:
        print(f"dependencies, rank correlation over {ranks['pairs']} pairs of classes: {told}")
    content = {
        "checkpoint": str(checkpoint),
        "split": split,
        "episodes": {**options, "proportions": proportions},
        "rows": rows,
        "difference": _numbers({"accuracy": difference[0], "ci95": difference[1]}),
        "per_class": graph.per_class,
        "hardest_pairs": pairs,
        "classes": list(names),
        "dependencies": _numbers(ranks),
        "confusion": graph.confusion.tolist(),  # row: the class, column: what it was taken for
    }
    write_json(json, content)


def _numbers(figures: Mapping[str, float | int]) -> dict[str, float | int | None]:
    """Figures as JSON has them, which knows no nan."""
    return {name: None if isnan(value) else value for name, value in figures.items()}
