"""Methods compared in Python: `fewshot.compare`, its rows as a table, a picture or a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from fewshot.evaluation import compare as comparison
from fewshot.evaluation.choice import choose, choose_modes, choose_reference
from fewshot.evaluation.compare import Compared
from fewshot.evaluation.episodes_file import write_episodes
from fewshot.evaluation.in_memory import Network, scored_data
from fewshot.methods import own
from fewshot.report.comparison_chart import save_comparison

if TYPE_CHECKING:
    import pandas


class Comparison(list[Compared]):
    """The rows of a comparison: a list of `Compared`, the reference first.

    Attributes:
        left_out: one line for each reason why methods are not among the rows.
    """

    left_out: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Of the episodes, the same for all rows: equal only for the very same episodes."""
        return self[0].scores.fingerprint

    def to_pandas(self) -> pandas.DataFrame:
        """The rows as a data frame, with the columns of `Compared.row`.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("to_pandas: expected pandas (pip install pandas), got none") from error
        return pandas.DataFrame([row.row() for row in self])

    def draw(self, path: str | Path, title: str = "") -> Path:
        """Draw the rows to a file that ends in .png, .svg or .pdf, see `save_comparison`."""
        return save_comparison(path, [row.row() for row in self], title)

    def save_episodes(self, path: str | Path) -> Path:
        """Write the accuracies per episode to an .npz file, see `write_episodes`."""
        return write_episodes(path, [row.scores for row in self])

    def __str__(self) -> str:
        names = ("method", "mode", "accuracy", f"above {self[0].method.title}") if self else ()
        lines = [names, *(_line(row) for row in self)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )


def _line(row: Compared) -> tuple[str, ...]:
    """A row in words."""
    relations = "" if row.scores.relations == "none" else f", {row.scores.relations}"
    above, half = row.difference or (None, None)
    difference = "" if above is None else f"{above:+.2f} ± {half:.2f}"
    return row.method.title, row.mode + relations, f"{row.accuracy:.2f} ± {row.ci95:.2f}", difference


def compare(
    data: Any,
    methods: Any = None,
    *,
    model: nn.Module | Network | None = None,
    reference: Any = "prototypes",
    split: str = "test",
    way: int = 5,
    shot: int = 1,
    query: int = 15,
    episodes: int = 2000,
    seed: int = 0,
    classes: str = "uniform",
    queries: str = "balanced",
    label_noise: float = 0.0,
    mode: str = "all",
    proportions: str = "both",
    relations: str = "none",
    belief: float | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> Comparison:
    """Score methods on the very same episodes, as ``fewshot compare`` does.

    Args:
        data: a file of features or a checkpoint; features, images or a torch ``Dataset``, or a mapping of
            these by split; see `fewshot.evaluation.in_memory.scored_data`.
        methods: a list, or text separated by commas: names of the catalogue, ``FILE.py:NAME``, your own
            functions and classes; see `fewshot.methods.own`. Default None: all except those that train on
            images.
        model: encodes images: a `GraphFewShot`, or any network; default None.
        reference: what the differences are from, a method; default prototypes. It comes first.
        split: whose classes are drawn; default "test".
        way, shot, query: classes per episode, supports and queries per class; default 5, 1 and 15.
        episodes, seed: how many, and of what seed; default 2000 and 0.
        classes, queries, label_noise: see `EpisodeSampler`; default "uniform", "balanced" and 0.
        mode: "inductive", "joint", or "all" (default).
        proportions: joint modes that are given the classes' shares ("known"), those that are not
            ("unknown"), or "both" (default).
        relations: to known classes, those of the train split or of the checkpoint: "none" (default),
            "taxonomy", "looks" or "shuffled".
        belief: how far these are believed, from 0 to 1; default None: it is judged.
        progress: called with one line before anything that takes a while; default: ignores it.

    Raises:
        InputError: data, methods or options that do not fit.

    >>> import numpy as np
    >>> features = np.random.default_rng(0).normal(size=(60, 8)) + 2 * np.eye(8)[np.arange(60) // 10]
    >>> def median(support, query, **_):
    ...     return -(query[:, :, None] - support.median(2).values[:, None]).square().sum(-1)
    >>> rows = compare((features, np.arange(60) // 10), ["simpleshot", median], shot=3, query=5, episodes=50)
    >>> [(row.name, row.mode) for row in rows]
    [('prototypes', 'inductive'), ('simpleshot', 'inductive'), ('median', 'inductive')]
    >>> print(rows)  # doctest: +ELLIPSIS
    method      mode       accuracy      above ProtoNet
    ProtoNet    inductive  ...
    """
    named = None if methods is None else own.find(methods)
    sampling = {
        "way": way,
        "shot": shot,
        "query": query,
        "episodes": episodes,
        "seed": seed,
        "classes": classes,
        "queries": queries,
        "label_noise": label_noise,
    }
    scored = scored_data(data, model)
    modes, lacks = choose_modes(mode, proportions), scored.lacks(split)
    missing = scored.untransformed()
    chosen, left_out = choose(named, modes, lacks, relations != "none", missing)
    first = choose_reference(reference, chosen, lacks, missing)
    sampler = scored.sampler(split, **sampling)
    related = scored.relations(relations, split, seed)
    needs = {method.needs for method in [first, *chosen]}
    rows = Comparison(
        comparison.compare(
            chosen,
            scored.material(sampler, split, base=bool(needs & {"base", "known"}), relations=related),
            sampler,
            scored.image_sampler(split, sampler, **sampling) if "images" in needs else None,
            modes,
            progress,
            related,
            belief,
            first,
        )
    )
    rows.left_out = tuple(left_out)
    return rows
