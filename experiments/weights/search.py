"""The pattern search: what it moves, and the objective that it raises."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import product

from weights.conditions import ALL, FALSE, INDUCTIVE, Drawn, Given

from fewshot.graph.class_graph import ClassGraph

HARM = 3.0  # what a point below the reference costs more than a point of gain brings
WORST = 0.2  # the same of the worst condition
LEAST = 0.004  # points that a move must be worth

# The first step of each scalar; a vector has one per element.
STEPS: dict[str, list[float]] = {
    "neighbours.listen.log_sharpness": [0.3],
    "neighbours.listen.coherence": [0.015, 0.015],
    "neighbours.listen.coherence_power": [0.3],
    "neighbours.listen.ordinary": [0.05],
    "neighbours.listen.power": [0.3],
    "neighbours.listen.effect": [0.5],
    "neighbours.listen.seen": [0.1],
    "neighbours.weigh.log_weight": [0.2],
    "neighbours.weigh.relating": [0.05, 0.08],
    "neighbours.weigh.follow": [0.2],
    "neighbours.weigh.repeats": [0.1],
    "neighbours.believe.evidence": [0.15],
    "neighbours.believe.hope": [0.2],
    "neighbours.believe.prior": [1.0],
    "neighbours.believe.rows": [1.0, 1.0],
    "trust.log_scale": [0.2],
    "trust.doubt": [0.4, 0.4],
    "trust.renewal": [1.0],
    "handicap.tightness": [0.05],
    "head.log_scale": [0.15],
    "sharpness.by": [0.1, 0.2],
    "coupling.balance": [0.7, 0.5, 0.5, 0.5, 0.5],
    "coupling.log_floor": [0.4],
    "exchange.weight": [0.3, 0.1, 0.2],
    "exchange.few": [0.5],
    "exchange.log_trust": [0.2],
    "exchange.trust_few": [0.7],
    "exchange.kinship": [0.4, 0.6, 0.3],
    "exchange.log_kin": [0.5],
}
# Set by hand: the edges between new classes, which change accuracy little (ablation.py), and the log odds of
# a class known to be there, for which there is no condition.
BY_HAND = ("facts.log_presence", "conv.log_sharpness", "conv.log_prior", "conv.presence", "refine.message")
FITTED = ("temperature", "none_of_these")  # by calibration.py


@dataclass(frozen=True)
class Figure:
    """One condition, mode and relations: percent, and points above what it is compared with.

    ``below``: how far below its reference it is (0 or less): joint modes below inductive, false relations
    below none.
    """

    features: str
    condition: str
    mode: str
    relations: str
    belief: str
    known_relations: bool
    weight: float
    accuracy: float
    over_prototypes: float
    over_inductive: float | None
    over_none: float | None

    @property
    def below(self) -> float:
        found = [0.0 if self.over_inductive is None else self.over_inductive]
        found += [self.over_none or 0.0] if self.relations in FALSE else []
        return min(0.0, *found)

    def row(self) -> dict:
        """As plain values, rounded."""
        return {k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(self).items()}


def measure(graph: ClassGraph, drawn: Sequence[Drawn]) -> list[Figure]:
    """The figures of all conditions, each a mean over the sources of its kind."""
    groups: dict[tuple[str, str], list[Drawn]] = {}
    for one in drawn:
        groups.setdefault((one.source.kind, one.condition.name), []).append(one)
    return [figure for (kind, _), same in groups.items() for figure in _figures(graph, kind, same)]


def _figures(graph: ClassGraph, kind: str, same: Sequence[Drawn]) -> list[Figure]:
    condition = same[0].condition
    cells = list(product(condition.given, (mode for mode in ALL if mode in condition.modes)))
    found = {cell: _mean(one.accuracy(graph, cell[1], cell[0]) for one in same) for cell in cells}
    plain, none = _mean(one.plain for one in same), Given()
    return [
        Figure(
            kind,
            condition.name,
            mode,
            given.kind,
            "judged" if given.belief is None else f"{given.belief:g}",
            given.among,
            condition.weight / len(cells),
            accuracy,
            accuracy - plain,
            None if mode == INDUCTIVE else accuracy - found[given, INDUCTIVE],
            None if given == none else accuracy - found[none, mode],
        )
        for (given, mode), accuracy in found.items()
    ]


def objective(figures: Sequence[Figure]) -> float:
    """Weighted mean of points above prototypes, less penalties for what lies below its reference."""
    whole = sum(figure.weight for figure in figures)
    gain = sum(figure.weight * figure.over_prototypes for figure in figures) / whole
    harm = sum(figure.weight * figure.below for figure in figures) / whole
    return gain + HARM * harm + WORST * min(figure.below for figure in figures)


def search(graph: ClassGraph, drawn: Sequence[Drawn], rounds: int) -> list[dict]:
    """Move one scalar at a time while it helps; returns the moves. Steps grow with success, else shrink."""
    parameters = dict(graph.named_parameters())
    steps = {(name, i): step for name, sizes in STEPS.items() for i, step in enumerate(sizes)}
    best, moves = objective(measure(graph, drawn)), []
    for number, (name, i) in product(range(rounds), list(steps)):
        element = parameters[name].data.view(-1)[i : i + 1]
        old = element.item()
        for sign in (1, -1):
            element.fill_(old + sign * steps[name, i])
            found = objective(measure(graph, drawn))
            if found > best + LEAST:
                best, steps[name, i] = found, 1.2 * sign * steps[name, i]
                move = {"round": number, "scalar": f"{name}[{i}]", "to": round(element.item(), 3)}
                moves.append({**move, "objective": round(best, 3)})
                print(moves[-1], flush=True)
                break
        else:
            element.fill_(old)
            steps[name, i] /= 2
    return moves


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)
