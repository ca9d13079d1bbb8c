"""`fewshot evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import isnan, nan
from typing import TYPE_CHECKING, Any, Literal

from fewshot.cli.files import OutputFile, check_kept, check_outputs, read_of_data, read_of_source
from fewshot.cli.options import EpisodeOptions, KnowledgeOptions
from fewshot.cli.output import print_classes, print_rows, print_seen, print_unknown
from fewshot.core.files import tell, write_json
from fewshot.core.modes import Inference

if TYPE_CHECKING:
    from fewshot.episodes.sampler import EpisodeSampler
    from fewshot.evaluation.inputs import ScoredData
    from fewshot.evaluation.relations import Relations
    from fewshot.evaluation.scores import Scores

RANKS = ("confusions", "taxonomy")  # what dependencies are compared with


def evaluate(
    checkpoint: str,
    *,
    options: EpisodeOptions,
    knowledge: KnowledgeOptions,
    mode: Inference = "inductive",
    proportions: Literal["unknown", "known"] = "unknown",
    json: OutputFile | None = None,
) -> None:
    """Score a checkpoint on episodes, and prototypes on the same backbone and the very same episodes.

    Example: fewshot evaluate runs/glyphs/checkpoint.pt --way 20 --shot 5 --mode joint

    Args:
        checkpoint: What fewshot train wrote, or a ready model (imagenet).
        options: The episodes.
        knowledge: What is known besides.
        mode: Look at each query on its own, or at all queries together (transductive).
        proportions: Whether the class graph is given the classes' shares of the queries.
        json: Also write all figures to this file.
    """
    from fewshot.evaluation import scores
    from fewshot.evaluation.correlations import mean_dependencies, meaning
    from fewshot.evaluation.inputs import open_checkpoint
    from fewshot.evaluation.joint_check import joint_below
    from fewshot.methods.prototypes import prototypes

    read = read_of_source(checkpoint, knowledge.without_known)
    check_outputs(json, inputs=[*read, *read_of_data(options.data)])
    scored = open_checkpoint(checkpoint, options.data, knowledge.without_known)
    check_kept([json], read_of_data(scored.spec))
    strangers = scored.sampler(options.split, **options.sampling(), unknown=options.unknown)
    sampler = strangers.without_unknown()
    relations = scored.relations(knowledge.relations, options.split, options.seed)
    known = proportions == "known"
    label = f"{mode}-known" if known else mode

    def score(given: Relations | None, mode: str = mode, label: str = label) -> Scores:
        predict = scores.as_predict(
            scored.graph,
            joint=mode == "joint",
            know_proportions=known,
            relations=given,
            belief=knowledge.given_belief,
        )
        kind = "none" if given is None else given.kind
        return scores.evaluate(predict, sampler, method="class-graph", mode=label, relations=kind)

    plain = score(None)
    calibrated = partial(prototypes, scale=scored.scale)
    reference = scores.evaluate(scores.as_predict(calibrated), sampler, method="prototypes")
    graph = plain if relations is None else score(relations)  # that which the details below are of
    names = sampler.data.class_names
    pairs = scores.hardest_pairs(graph.confusion, names)
    rows = [row.row() for row in dict.fromkeys((plain, reference, graph))]
    print_rows(rows)
    print_seen(scored.seen(options.split), sampler.data.num_classes, checkpoint)
    differences = {"prototypes": scores.paired_difference(graph, reference)}
    if relations is not None:
        differences["no relations"] = scores.paired_difference(graph, plain)
    if len(graph.per_episode) > 1:
        for other, (above, half) in differences.items():
            print(f"class-graph - {other}: {above:+.2f} ± {half:.2f} (paired, 95 %)\n")
    if mode == "joint":
        for line in joint_below([graph, score(relations, "inductive", "inductive")]):
            tell(line)
    print_classes(graph.per_class, pairs)
    ranks = meaning(mean_dependencies(scored.graph.cpu(), sampler), graph.confusion, sampler.data)
    _print_ranks(ranks)
    figures = {
        other: _numbers({"accuracy": above, "ci95": half}) for other, (above, half) in differences.items()
    }
    content: dict[str, Any] = {
        "checkpoint": checkpoint,
        "split": options.split,
        "episodes": {**options.sampling(), "proportions": proportions},
        "knowledge": knowledge.described(),
        "seen_classes": len(scored.seen(options.split)),
        "rows": rows,
        "difference": figures["prototypes"],
        "gain": figures.get("no relations"),
        "per_class": graph.per_class,
        "hardest_pairs": pairs,
        "classes": list(names),
        "dependencies": _numbers(ranks),
        "confusion": graph.confusion.tolist(),  # row: the class, column: what it was taken for
    }
    if options.unknown:
        content["unknown"] = unknown = _score_unknown(scored, strangers, options.split, relations, knowledge)
        print_unknown(unknown)
    write_json(json, content)


def _score_unknown(
    scored: ScoredData,
    sampler: EpisodeSampler,
    split: str,
    relations: Relations | None,
    knowledge: KnowledgeOptions,
) -> list[dict[str, Any]]:
    """The rows of the rules for "none of these"."""
    from fewshot.evaluation.open_set import score_unknown
    from fewshot.methods.open_set import RULES

    lacks = scored.lacks(split)
    rules = [rule for rule in RULES if rule.needs not in lacks]
    material = scored.material(sampler, split, base=any(rule.needs == "base" for rule in rules))
    rows = score_unknown(
        rules, material, sampler, relations=relations, belief=knowledge.given_belief, progress=tell
    )
    return [row.row() for row in rows]


def _print_ranks(ranks: Mapping[str, float | int]) -> None:
    known = [f"{ranks[name]:+.2f} with {name}" for name in RANKS if not isnan(ranks.get(name, nan))]
    if known:
        pairs = ranks["pairs"]
        print(f"dependencies, rank correlation over {pairs} pairs of classes: {', '.join(known)}")


def _numbers(figures: Mapping[str, float | int]) -> dict[str, float | int | None]:
    """Figures for JSON, which has no nan."""
    return {name: None if isnan(value) else value for name, value in figures.items()}
