"""Fit the scalars of "none of these" on classes that the backbone did not see.

    python experiments/none_of_these.py FOLD.npz … [--episodes 400] [--write]

The files are those of `experiments/fold_features.py`: their val split holds the new classes, their train
split the known ones. Episodes have 5 classes and 5 hidden ones, 15 queries each, at 1, 2, 5 and 10 shots,
without known classes and with the taxonomy's relations. The sharpness of both sums and the weight of the
known classes' are those of the largest mean area under the ROC curve on a grid; scale, bias and the usual
value of the sum then minimise the binary cross-entropy in inductive mode, the exchange's first two scalars
that in joint mode (LBFGS). Prints all of them, and ``--write`` puts them into the shipped weights. ``--score
FEATURES.npz`` instead scores the shipped weights on the val split of a file of features, into
``experiments/results/none_of_these.json``.
"""

import argparse
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch
from main_job import RESULTS, machine
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from fewshot.evaluation.inputs import open_source
from fewshot.evaluation.open_set import recognition, score_unknown
from fewshot.graph.class_graph import WEIGHTS, ClassGraph
from fewshot.graph.unknown import NoneOfThese
from fewshot.graph.vectors import normalize
from fewshot.methods.open_set import RULES

SHOTS = (1, 2, 5, 10)
# Larger weights gain less than 0.1 more, and would lean wholly on the known classes.
SHARPNESS, BREADTH, WEIGHT = (8.6, 10.5, 12.5), (3.0, 4.0, 5.0), (0.7, 1.0, 1.3)


@dataclass(frozen=True)
class Asked:
    """Queries of a batch of episodes: what the formula is made of, and which are of hidden classes."""

    cosines: Tensor
    query: Tensor
    mask: Tensor
    known: Tensor | None
    unknown: Tensor

    def odds(self, rule: NoneOfThese, joint: bool = False) -> Tensor:
        there = self.mask.any(-1)
        back = None if self.known is None else rule.against(self.query, self.known, there)
        odds = rule(self.cosines, there, self.mask, back)
        return rule.among_queries(odds, self.query, torch.ones_like(odds)[..., None]) if joint else odds

    def area(self, rule: NoneOfThese) -> float:
        found = recognition(self.odds(rule), self.unknown, torch.ones_like(self.unknown))
        return 100 * found[:, 0].mean().item()

    def loss(self, rule: NoneOfThese, joint: bool) -> Tensor:
        return binary_cross_entropy_with_logits(self.odds(rule, joint), self.unknown.float())


@torch.no_grad()
def asked(file: Path, episodes: int) -> Iterable[Asked]:
    source = open_source(file)
    relations = source.relations("taxonomy", "val")
    for shot in SHOTS:
        options = {"way": 5, "shot": shot, "query": 15, "batch": 100, "episodes": episodes, "unknown": 5}
        for episode in source.sampler("val", **options):
            support, query = episode.support, episode.query
            known, rows = relations.given(episode)
            for given in ({}, {"known": known, "relations": rows}):
                out = source.graph(support, query, **given)
                cosines = out.logits / out.scale[:, None, None]
                unit = normalize(source.transform(query))
                mask = torch.ones(support.shape[:3], dtype=torch.bool)
                yield Asked(cosines, unit, mask, given.get("known"), episode.unknown)


@torch.no_grad()
def choose(rule: NoneOfThese, batches: list[Asked]) -> None:
    """Set both sharpnesses and the weight, which is in units of the ratio of the two."""
    given = [batch for batch in batches if batch.known is not None]

    def set_to(sharpness: float, breadth: float, weight: float) -> None:
        rule.log_sharpness.copy_(torch.tensor(sharpness).log())
        rule.background[0] = weight * sharpness / breadth
        rule.background[2] = torch.tensor(breadth).log()

    def mean(*values: float) -> float:
        set_to(*values)
        return sum(batch.area(rule) for batch in given) / len(given)

    areas = {values: mean(*values) for values in product(SHARPNESS, BREADTH, WEIGHT)}
    for values in sorted(areas, key=areas.__getitem__, reverse=True)[:5]:
        print("sharpness {}, breadth {}, weight {}:".format(*values), f"{areas[values]:.2f}")
    set_to(*max(areas, key=areas.__getitem__))


def minimise(loss: Callable[[], Tensor], of: dict[Tensor, list[int]]) -> float:
    """LBFGS over some elements of parameters."""
    optimizer = torch.optim.LBFGS(list(of), max_iter=60, line_search_fn="strong_wolfe")

    def step() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        for parameter, free in of.items():
            if parameter.dim():
                parameter.grad[[i for i in range(len(parameter)) if i not in free]] = 0
        return value

    optimizer.step(step)
    return loss().item()


def score(file: Path, episodes: int) -> None:
    """The shipped weights on val classes."""
    source = open_source(file)
    relations = source.relations("taxonomy", "val")
    rules = [rule for rule in RULES if rule.name == "class-graph"]
    rows = []
    for shot in (1, 5):
        options = {"way": 5, "shot": shot, "query": 15, "batch": 50, "episodes": episodes, "unknown": 5}
        sampler = source.sampler("val", **options)
        found = score_unknown(
            rules, source.material(sampler, "val", base=False), sampler, relations=relations
        )
        rows += [{"shot": shot, **row.row()} for row in found]
    result = {"split": "val", "seed": 0, "machine": machine(), "rows": rows}
    (RESULTS / "none_of_these.json").write_text(json.dumps(result, indent=1) + "\n")
    for row in rows:
        print(row["shot"], row["mode"], row["relations"], f"{row['auroc']:.1f} ± {row['auroc_ci95']:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folds", nargs="*", type=Path)
    parser.add_argument("--score", type=Path, metavar="FEATURES.npz")
    parser.add_argument("--episodes", type=int, default=400)
    parser.add_argument("--write", action="store_true", help="into the shipped weights")
    arguments = parser.parse_args()
    if arguments.score:
        return score(arguments.score, arguments.episodes)
    graph = ClassGraph.pretrained().requires_grad_(False)
    rule = graph.none_of_these
    batches = [batch for file in arguments.folds for batch in asked(file, arguments.episodes)]
    choose(rule, batches)
    rule.requires_grad_(True)
    for joint, of in (
        (False, {rule.scale: [], rule.bias: [0, 1], rule.background: [1]}),
        (True, {rule.exchange: [0, 1]}),
    ):
        loss = minimise(lambda joint=joint: sum(b.loss(rule, joint) for b in batches) / len(batches), of)
        print(f"{'joint' if joint else 'inductive'}: cross-entropy {loss:.4f}")
    print(rule)
    if arguments.write:
        graph.save_pretrained(WEIGHTS)


if __name__ == "__main__":
    main()
