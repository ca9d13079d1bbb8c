"""What the page shows: pictures classified, compared with the answers before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock

import numpy as np
import scipy.optimize  # noqa: F401 (which the first answer for given shares would wait for)
import torch
from jaxtyping import Float
from torch import Tensor

from fewshot.core.taxonomy import nearest_group
from fewshot.graph.class_graph import ClassGraph, GraphOutput
from fewshot.graph.why import why
from fewshot.model.assignment import given_shares, labels_of
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.folder_supports import Supports, read_supports
from fewshot.model.predict import answer, knowledge
from fewshot.model.suggest import Candidate, Suspect, suggestions
from fewshot.page.features import Features
from fewshot.page.support_folder import SupportFolder

SURE = 0.9


@dataclass(frozen=True)
class Options:
    """What is known of the pictures, and how they are looked at."""

    joint: bool = False
    names: bool = True
    equal: bool = False
    absent: tuple[str, ...] = ()
    present: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Answer:
    """What a picture was taken for.

    ``sure``: the smallest set of classes that holds the right one in 90 % of the cases; ``none``: the
    probability that it is none of the classes; ``group``: the smallest group that holds the sure classes;
    ``changed``: not the class of the answer before.
    """

    file: Path
    name: str
    probability: float
    sure: tuple[str, ...]
    none: float
    group: str
    changed: bool
    probabilities: Float[np.ndarray, " N"]


@dataclass(frozen=True, eq=False)
class Plain:
    """The graph's output for pictures each on its own, without evidence, and what it was made from."""

    key: tuple[int, bool, int]
    output: GraphOutput


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers for all pictures, the classes in the order of their probabilities, and the plain output."""

    names: tuple[str, ...] = ()
    rows: tuple[Answer, ...] = ()
    plain: Plain | None = None


@dataclass
class Desk:
    """The model and the support folder that all pages of one server share.

    Args:
        model: a checkpoint or a ready model.
        folder: the support folder.
    """

    model: GraphFewShot
    folder: SupportFolder
    _kept: dict[tuple[int, bool], Supports] = field(default_factory=dict)
    _lock: RLock = field(default_factory=RLock)

    def __post_init__(self) -> None:
        self.features = Features(self.model)

    def supports(self, names: bool = True) -> Supports:
        """The classes, read again after a change."""
        with self._lock:
            key = (self.folder.changes, names)
            if key not in self._kept:
                relations = "names" if names else "none"
                found = read_supports(self.model, self.folder.folder, relations, self.features.of)
                self._kept = {k: v for k, v in self._kept.items() if k[0] == self.folder.changes}
                self._kept[key] = found
            return self._kept[key]

    def encode(self, files: Sequence[Path]) -> tuple[list[Path], Float[Tensor, "n D"], list[str]]:
        """The pictures that can be read, their features, and a line for each that cannot."""
        with self._lock:
            good, lines = self.features.readable(files)
            return good, self.features.of(good) if good else torch.zeros(0, 0), lines

    def answer(
        self,
        files: Sequence[Path],
        features: Float[Tensor, "n D"],
        options: Options,
        before: Answers | None = None,
    ) -> Answers:
        """What each picture is taken for; empty without pictures.

        Args:
            files, features: as `encode` gives them.
            options: what is known.
            before: the answers before, to mark what changed; default None.
        """
        if not files:
            return Answers()
        with self._lock:
            supports = self.supports(options.names)
            known = knowledge(supports.names, supports.related, options.absent, options.present)
            shares = given_shares("equal" if options.equal and options.joint else "unknown", supports.names)
            plain = before.plain if before is not None else None
            key = (self.folder.changes, options.names, len(files))
            if plain is None or plain.key != key:
                plain = Plain(key, answer(self.model, supports, features, unknown=True))
            output = plain.output
            if options.joint or known is not None:
                output = answer(
                    self.model, supports, features, joint=options.joint, known=known, shares=shares
                )
        assert plain.output.unknown is not None
        none = plain.output.unknown[0].double().sigmoid().tolist()
        logits = output.logits[0].double()
        earlier = {} if before is None else {row.file: row.name for row in before.rows}
        names = tuple(supports.names)
        found, chosen = logits.softmax(-1).numpy(), labels_of(logits.numpy(), shares)
        sets = self.model.calibration.sets(
            found,
            chosen,
            SURE,
            mode="joint" if options.joint else "inductive",
            shares=shares is not None,
            shots=supports.shots,
            related=supports.related is not None,
        )
        paths = [supports.meaning(name).path for name in names]
        groups: dict[tuple[str, ...], str] = {}
        answers = []
        for file, row, own, place, unknown in zip(files, found, sets, chosen.tolist(), none, strict=True):
            some = own.nonzero()[0]
            sure = tuple(names[i] for i in some[np.argsort(-row[some], kind="stable")])
            if sure not in groups:
                own_paths = [paths[i] for i in some]
                group = nearest_group([min(own_paths), max(own_paths)])  # all others are between these
                groups[sure] = group[-1].replace("_", " ") if group else ""
            changed = earlier.get(file, names[place]) != names[place]
            probability = float(row[place])
            answers.append(Answer(file, names[place], probability, sure, unknown, groups[sure], changed, row))
        return Answers(names, tuple(answers), plain)

    def suggestions(
        self, files: Sequence[Path], features: Float[Tensor, "n D"], names: bool = True, count: int = 10
    ) -> tuple[list[Suspect], list[Candidate]]:
        """Labels that look wrong, and which of the pictures to label next; see `fewshot.model.suggest`."""
        with self._lock:
            return suggestions(self.model, self.supports(names), files, features, count)

    def reasons(
        self, features: Float[Tensor, "n D"], place: int, names: bool
    ) -> list[tuple[str, float, float, float]]:
        """What supports, known classes and other classes give to a picture's logits, the best class first."""
        graph = self.model.graph
        assert isinstance(graph, ClassGraph)
        supports = self.supports(names)
        transform = self.model.transform
        given = {}
        if supports.related is not None and self.model.known is not None:
            given = {"known": self.model.known.prototypes, "relations": supports.related.rows}
        here = self.model.device
        given = {key: value.to(here) for key, value in given.items()}
        parts = why(
            graph,
            transform(supports.features.to(here)),
            transform(features[None, place : place + 1].to(here)),
            support_mask=supports.mask.to(here),
            **given,
        )
        own, known, others = parts.own[0, 0], parts.known[0, 0], parts.messages[0, 0].sum(-1)
        rows = list(zip(supports.names, own.tolist(), known.tolist(), others.tolist(), strict=True))
        return [rows[i] for i in parts.after[0, 0].argsort(descending=True).tolist()]
