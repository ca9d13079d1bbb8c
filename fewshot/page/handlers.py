"""What each thing on the page does, as functions of one visit and of what was chosen."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.core.files import write_csv
from fewshot.core.untrusted.plain import read_plain
from fewshot.model.suggest import Candidate, Suspect
from fewshot.page import render
from fewshot.page.answers import Answers, Desk, Options
from fewshot.report import class_graph
from fewshot.report.example import class_picture

Advice = tuple[list[Suspect], list[Candidate]]


class Visit:
    """What one open page holds.

    Args:
        files, features: the pictures, and their features.

    Attributes:
        answers: the last ones.
        asked: what they were computed from.
        advice: the last suggestions, if they were asked for.
        given: pictures that were given to a class, and their places there.
        classes_page: of the classes, from 1.
    """

    # Not a dataclass, which gradio would turn into a dictionary.
    def __init__(self, files: Sequence[Path] = (), features: Tensor | None = None) -> None:
        self.files = list(files)
        self.features = torch.zeros(0, 0) if features is None else features
        self.answers = Answers()
        self.asked: object = None
        self.advice: Advice | None = None
        self.given: dict[Path, Path] = {}
        self.classes_page = 1

    def with_answers(self, answers: Answers, asked: object) -> Visit:
        """A copy with other answers."""
        other = copy(self)
        other.answers, other.asked = answers, asked
        return other


@dataclass(frozen=True)
class View:
    """What the page shows after a step; choices are pairs of what is shown and what it stands for."""

    said: str
    table: str
    classes: list[str]
    pictures: list[tuple[str, str]]
    known: list[str]
    visit: Visit
    answers: str
    asked: list[tuple[str, int]]
    advice: str
    suspects: list[tuple[str, str]]
    candidates: list[tuple[str, int]]


@dataclass(frozen=True)
class Handlers:
    """The steps of the page of one server.

    Args:
        desk: the model and the support folder.
    """

    desk: Desk
    # What is downloaded is written here, and removed when the server ends by itself.
    _written: tempfile.TemporaryDirectory[str] = field(
        default_factory=lambda: tempfile.TemporaryDirectory(prefix="fewshot-"),
        init=False,
        repr=False,
        compare=False,
    )

    def view(self, visit: Visit, page: int | float | None, options: Options, said: str = "") -> View:
        """Everything that may have changed; the answers are computed again if what they rest on changed.

        Args:
            visit: the pictures and the answers before.
            page: of the answers, from 1.
            options: what is known.
            said: the line on the page.
        """
        supports, groups = self.desk.supports(options.names), dict[str, None]()
        meanings = {name: supports.meaning(name) for name in supports.names}
        for meaning in meanings.values():
            groups |= dict.fromkeys(step.replace("_", " ") for step in meaning.path[1:-1])
        asked = (self.desk.folder.changes, len(visit.files), options)
        if visit.asked != asked:
            found = self.desk.answer(visit.files, visit.features, options, visit.answers)
            visit = visit.with_answers(found, asked)
        suspects, candidates = self._advice(visit)
        place = {file: number for number, file in enumerate(visit.files)}
        shown = render.page_of(len(visit.files), int(page or 1), render.PER_PAGE)
        return View(
            render.message(said),
            render.classes_table(supports.files, meanings, visit.classes_page),
            supports.names,
            [(f"{name}/{file.name}", str(file)) for name, own in supports.files.items() for file in own],
            [*supports.names, *(group for group in groups if group not in supports.names)],
            visit,
            render.answers_table(visit.answers, int(page or 1)),
            [(visit.files[number].name, number) for number in shown],
            "" if visit.advice is None else render.suggestions_table(suspects, candidates),
            [(f"{one.name}/{one.file.name}: {one.looks_like}?", str(one.file)) for one in suspects],
            [(f"{one.file.name}: {one.looks_like}?", place[one.file]) for one in candidates],
        )

    def _advice(self, visit: Visit) -> Advice:
        """The last suggestions but those that were followed or refused."""
        suspects, candidates = visit.advice or ([], [])
        return (
            [one for one in suspects if self.desk.folder.doubtful(one.file)],
            [one for one in candidates if not visit.given.get(one.file, Path()).is_file()],
        )

    def attempt(
        self, step: Callable[..., str], visit: Visit, page: int | float | None, options: Options, *given: Any
    ) -> View | str:
        """What the page shows after a step; what is wrong is a line alone."""
        said = ""
        try:
            said = step(visit, *given)
            return self.view(visit, page, options, said)
        except (InputError, OSError) as error:
            return render.message(": ".join(filter(None, [said, str(error)])))

    def look(self, _: Visit) -> str:
        """Only look again."""
        return ""

    def take(self, visit: Visit, files: Sequence[str | Path] | None) -> str:
        """Pictures to classify."""
        good, features, wrong = self.desk.encode([Path(one) for one in files or []])
        visit.files = [*visit.files, *good]
        if good:
            visit.features = torch.cat([visit.features, features]) if len(visit.features) else features
        return "; ".join([f"{len(good)} pictures", *wrong])

    def new_class(self, _: Visit, name: str) -> str:
        """A class by its name alone."""
        return f"New class {self.desk.folder.add_class(name)!r}"

    def give(self, _: Visit, name: str | None, files: Sequence[str | Path] | None) -> str:
        """Pictures to a class; broken ones are refused."""
        good, _features, wrong = self.desk.encode([Path(one) for one in files or []])
        for one in good:
            self.desk.folder.add_picture(name or "", one)
        return "; ".join([f"{len(good)} pictures to {name!r}", *wrong])

    def label(self, visit: Visit, name: str | None, place: int | None) -> str:
        """Give one of the pictures to a class, as a support."""
        if place is None or place >= len(visit.files):
            raise InputError("picture: expected one of the pictures, got none")
        file = visit.files[place]
        visit.given[file] = self.desk.folder.add_picture(name or "", file)
        return f"{file.name!r} to {name!r}"

    def suggest(self, visit: Visit, names: bool = True) -> str:
        """What to check and what to label next."""
        if not visit.files:
            raise InputError("pictures: expected at least one, got none")
        visit.advice = self.desk.suggestions(visit.files, visit.features, names)
        return ""

    def accept(self, visit: Visit, picture: str | None) -> str:
        """Move a picture whose label looks wrong to the class that it looks like."""
        one = self._suspect(visit, picture)
        self.desk.folder.move(one.file, one.looks_like)
        return f"{one.file.name!r} from {one.name!r} to {one.looks_like!r}"

    def refuse(self, visit: Visit, picture: str | None) -> str:
        """Leave a picture whose label looks wrong where it is; it is not suspected again."""
        one = self._suspect(visit, picture)
        self.desk.folder.confirm(one.file)
        return f"{one.file.name!r} stays in {one.name!r}"

    def _suspect(self, visit: Visit, picture: str | None) -> Suspect:
        found = [one for one in self._advice(visit)[0] if str(one.file) == picture]
        if not found:
            raise InputError("picture: expected one of the labels to check, got none")
        return found[0]

    def turn(self, visit: Visit, number: int | float | None) -> str:
        """Another page of the classes."""
        visit.classes_page = int(number or 1)
        return ""

    def remove(self, _: Visit, picture: str | Path | None) -> str:
        """Take a picture out of its class."""
        self.desk.folder.take_out(picture or "")
        return "Taken out"

    def back(self, _: Visit) -> str:
        """Undo the last step."""
        step = self.desk.folder.undo()
        return "Nothing to undo" if step is None else f"Undone: {step}"

    def explain(self, visit: Visit, place: int | None, names: bool) -> str:
        """The parts of a picture's logits."""
        if place is None or place >= len(visit.files):
            return ""
        return render.reasons_table(self.desk.reasons(visit.features, place, names))

    def save(self, visit: Visit) -> str:
        """The answers as a CSV file, in the form of `fewshot predict`."""
        Path(self._written.name).mkdir(exist_ok=True)  # a system may clear its temporary folders
        target = Path(tempfile.mkdtemp(dir=self._written.name)) / "answers.csv"
        header = ["file", "class", "probability", *visit.answers.names]
        rows: list[list[Any]] = [[*header, "none_of_these", "sure_set", "group"]]
        for row in visit.answers.rows:
            first = [row.file.name, row.name, row.probability, *row.probabilities.tolist()]
            rows.append([*first, row.none, ";".join(row.sure), row.group])
        write_csv(target, rows)
        return str(target)

    def graph(self, names: bool) -> str:
        """The class graph, as a page within the page."""
        supports = self.desk.supports(names)
        with tempfile.TemporaryDirectory() as home:
            picture = class_picture(self.desk.model, self.desk.folder.folder, supports.related)
            return render.framed(
                read_plain(class_graph.save(Path(home) / "g.html", picture), 2**30).decode("utf-8")
            )
