"""Find the class graph's weights, or measure those that ship with the package.

    python experiments/fold_features.py --data miniimagenet:PATH/tiny-imagenet-fs.tar --folds 4 --out FOLDS4
    python experiments/class_graph_weights.py --folds FOLDS4 --letters CHECKPOINT --photographs FEATURES.npz

FOLDS4 holds features of base classes by backbones that did not see them, so that they are distributed like
those of new classes; the classes that a backbone saw are the known ones. CHECKPOINT is one of ``fewshot train
--config glyphs`` (or a file of its features, with splits), of which the train split is used; made-up clusters
give episodes of 100 classes. ``weights/conditions.py`` lists the conditions.

From the constructor's values, a pattern search moves one scalar at a time (``weights/search.py``) as long as
this raises the objective: weighted points above prototypes, less penalties for joint modes below inductive
and for false relations below none, the worst condition once more. Then cross-entropy sets the temperatures,
and binary cross-entropy the scalars of "none of these" (``weights/calibration.py``).

The weights go to ``--out``, which is not the folder of the shipped ones. ``--rounds 0`` searches nothing and
measures the shipped weights and the constructor's values; ``--temperatures`` fits the temperatures of the
shipped weights again, and nothing else, on classes that no backbone saw: of the folds, and the val classes.
Moves, objectives, conditions and figures on the val classes, by which nothing else is chosen, go to
``--results``. No test split is read.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch
from main_job import RESULTS, machine
from weights.calibration import fit_none_of_these, fit_temperatures
from weights.conditions import CALIBRATED, CONDITIONS, draw
from weights.search import measure, objective, search
from weights.sources import features, sources

from fewshot.core.files import write_json
from fewshot.evaluation.inputs import ScoredData, open_source
from fewshot.evaluation.open_set import score_unknown
from fewshot.evaluation.scores import MODES, evaluate, in_mode, paired_difference
from fewshot.graph.class_graph import ClassGraph
from fewshot.graph.transform import Transformed
from fewshot.methods.open_set import RULES
from fewshot.methods.prototypes import prototypes

VAL = (  # shots, queries, share of wrong labels
    *product((1, 5), ("balanced", "dirichlet:2"), (0.0,)),
    (5, "balanced", 0.4),
)
TOLD = (("none", None), ("taxonomy", None), ("taxonomy", 1.0), ("shuffled", None))
STRANGERS = 5
LETTERS = (
    3  # times that their conditions count where temperatures are fitted, next to five sets of photographs
)


def val_rows(graph: ClassGraph, kind: str, source: ScoredData, episodes: int, seed: int) -> Iterator[dict]:
    """The graph's modes on the val classes, with and without relations, and the difference to prototypes."""
    ours = Transformed(source.transform, graph)
    for (shot, queries, noise), (told, belief) in product(VAL, TOLD if kind == "photographs" else TOLD[:1]):
        options = {"queries": queries, "label_noise": noise}
        sampler = source.sampler("val", way=5, shot=shot, episodes=episodes, seed=seed, **options)
        relations = source.relations(told, "val", seed)
        plain = evaluate(in_mode(prototypes, "inductive"), sampler, method="prototypes")
        for mode in MODES:
            predict = in_mode(ours, mode, relations, belief)
            found = evaluate(predict, sampler, method="class-graph", mode=mode, relations=told)
            difference, half = (round(value, 3) for value in paired_difference(found, plain))
            believed = "judged" if belief is None else f"{belief:g}"
            added = {"belief": believed} if relations else {}
            over = {"over_prototypes": difference, "over_prototypes_ci95": half}
            yield {"features": kind, **options, **found.row(), **added, **over}


def unknown_rows(graph: ClassGraph, source: ScoredData, episodes: int, seed: int) -> Iterator[dict]:
    """The graph's "none of these" on the val photographs, five classes hidden."""
    source = replace(source, graph=Transformed(source.transform, graph))
    rule = [rule for rule in RULES if rule.name == "class-graph"]
    for shot in (1, 5):
        sampler = source.sampler("val", way=5, shot=shot, episodes=episodes, seed=seed, unknown=STRANGERS)
        relations = source.relations("taxonomy", "val", seed)
        material = source.material(sampler, "val", base=False, relations=relations)
        for scores in score_unknown(rule, material, sampler, relations=relations):
            yield {"shot": shot, **scores.row()}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--folds", type=Path, nargs="+", required=True, help="folders that fold_features.py wrote")
    add("--letters", type=Path, required=True, help="checkpoint, or .npz with train and val")
    add("--photographs", type=Path, required=True, help=".npz of features with train and val")
    add("--rounds", type=int, default=3, help="of the search; 0: measure the shipped weights only")
    add("--temperatures", action="store_true", help="fit only these, of the shipped weights")
    add(
        "--episodes", type=int, default=60, help="5-way episodes per condition and source, or as many queries"
    )
    add("--steps", type=int, default=600, help="of each fit by likelihood")
    add("--val-episodes", type=int, default=600)
    add("--seed", type=int, default=0)
    add("--out", type=Path, default=Path("runs/class_graph_weights"), help="folder for the weights")
    add("--results", type=Path, default=RESULTS / "class_graph_weights.json")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    torch.manual_seed(options.seed)
    if options.temperatures:
        fit_again(options)
        return
    found = list(sources(options.folds, options.letters, options.seed))
    drawn = [
        draw(source, condition, options.episodes, options.seed)
        for source in found
        for condition in CONDITIONS[source.kind]
    ]
    graph = ClassGraph().eval()
    start = measure(graph, drawn)
    result: dict = {"objective": {"constructor": round(objective(start), 3)}, "moves": []}
    print(result["objective"], flush=True)
    if options.rounds:
        result["moves"] = search(graph, drawn, options.rounds)
        result["cross_entropy"] = {
            "temperature": fit_temperatures(graph, drawn, options.steps, options.seed),
            "none of these": fit_none_of_these(graph, found, options.episodes, options.steps, options.seed),
        }
        graph.save_pretrained(options.out)
    else:
        graph = ClassGraph.pretrained()
    figures = measure(graph, drawn)
    result["objective"]["found" if options.rounds else "shipped"] = round(objective(figures), 3)
    print(result["objective"], flush=True)
    photographs, letters = open_source(options.photographs), open_source(options.letters)
    sizes = (options.val_episodes, options.seed + 1)
    write_json(
        options.results,
        {
            "command": command(options),
            "what": "a search" if options.rounds else "the shipped weights, measured; nothing was searched",
            "seed": options.seed,
            "episodes": options.episodes,
            "val_episodes": options.val_episodes,
            "machine": machine(),
            "sources": [f"{source.kind}: {source.name}, {source.data}" for source in found],
            **result,
            "conditions": [figure.row() for figure in figures],
            "rows": [
                *val_rows(graph, "photographs", photographs, *sizes),
                *val_rows(graph, "letters", letters, *sizes),
            ],
            "unknown": list(unknown_rows(graph, photographs, *sizes)),
        },
    )


def fit_again(options: argparse.Namespace) -> None:
    """The temperatures of the shipped weights, on classes that no backbone saw: of the folds, and val."""
    data = {"photographs": open_source(options.photographs), "letters": open_source(options.letters)}
    found = [source for source in sources(options.folds, options.letters, options.seed) if source.relations]
    found += [features("val", kind, source, "val", options.seed) for kind, source in data.items()]
    drawn = [
        draw(source, condition, options.episodes, options.seed)
        for source in found
        for condition in CALIBRATED
        if 2 * source.data.num_classes >= condition.options["way"]
        for _ in range(1 if source.kind == "photographs" else LETTERS)
    ]
    graph = ClassGraph.pretrained()
    loss = fit_temperatures(graph, drawn, options.steps, options.seed)
    graph.save_pretrained(options.out)
    what = {"command": command(options), "seed": options.seed, "machine": machine()}
    write_json(options.out / "temperatures.json", {**what, "loss": loss})


def command(options: argparse.Namespace) -> str:
    """As it was given, without this machine's paths."""
    folds = " ".join(f"FOLDS{i + 1}" for i in range(len(options.folds)))
    letters = "LETTERS.npz" if options.letters.suffix == ".npz" else "CHECKPOINT"
    only = " --temperatures" if options.temperatures else ""
    return (
        f"python experiments/class_graph_weights.py --folds {folds} --letters {letters} --photographs "
        f"FEATURES.npz --rounds {options.rounds} --episodes {options.episodes} --steps {options.steps} "
        f"--val-episodes {options.val_episodes} --seed {options.seed}{only}"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
