"""The report of a training run: one HTML page with its results and pictures, and the pictures as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import yaml
from jaxtyping import Int
from matplotlib.figure import Figure
from torch import Tensor

from fewshot.core.files import replacing, write_text
from fewshot.data.packed import PackedDataset, Splits
from fewshot.evaluation.scores import Scores, hardest_pairs
from fewshot.report import class_graph as drawing
from fewshot.report import figures as pictures
from fewshot.report.example import Example
from fewshot.report.html import Markup, framed, image_uri, larger, page, table

COLUMNS = {
    "method": "Method",
    "mode": "Mode",
    "relations": "Relations",
    "way": "Way",
    "shot": "Shot",
    "accuracy": "Accuracy, %",
    "ci95": "± (95 %)",
    "ece": "Calibration error",
    "nll": "NLL",
    "aurc": "AURC",
    "episodes": "Episodes",
    "fingerprint": "Fingerprint",
}
WHY = (
    "The query whose probabilities the messages between classes change most. A row is the logit of a class; "
    "own supports, handicap and messages add up to the logit after the graph. Before: without messages."
)
FEATURES = (
    "t-SNE. Squares: supports; dots: queries, in the colour of their class; stars: prototypes. A ring: a "
    "query assigned to the class of its colour. On such a plane, neighbourhoods mean more than distances."
)
CALIBRATION = (
    "On the dotted line, probabilities are right. Below: the histogram of the answers' probabilities."
)
RISK = (
    "Wrong answers if only the surest queries are answered. The better the probabilities tell right answers "
    "from wrong ones, the smaller is the area under the curve (AURC)."
)
CONFUSIONS = "Percent of a class's queries."
SAMPLES = 3  # images of a class next to its name


def write_report(
    folder: str | Path,
    *,
    config: Mapping[str, Any],
    metrics: Sequence[Mapping[str, Any]],
    scores: Sequence[Scores],
    splits: Splits,
    example: Example | None = None,
) -> dict[str, Path]:
    """Write ``report.html``, a self-contained page, and its pictures, ``pictures/NAME.png``.

    Args:
        folder: of the run.
        config: of the run, as plain values.
        metrics: the rows of ``metrics.jsonl``: each with ``stage`` and ``step``, and some with ``loss``,
            ``accuracy`` or ``val_accuracy`` (percent).
        scores: on the test classes. Calibration is shown for all scores with the way and shot of the first
            one, mistakes for the last of these without relations.
        splits: the data.
        example: a test episode, see `fewshot.report.example.draw_example`; default None omits its pictures.

    Returns:
        The files of the pictures, by name.
    """
    folder, name = Path(folder), str(config.get("name", "run"))
    home, files = folder / "pictures", {}
    parts = [
        f'<h1>{escape(name)}</h1><p class="soft">seed {config.get("seed")}</p>',
        "<h2>Results</h2>",
        results_table(scores),
        "<h2>Data</h2>",
        data_table(str(config.get("data", "")), splits),
    ]

    def show(file: str, title: str, caption: str, figure: Figure) -> None:
        files[file] = home / f"{file}.png"
        pictures.save_png(files[file], figure)
        parts.append(f"<h2>{title}</h2>{framed(pictures.to_svg(figure), caption)}")

    if metrics:
        show("curves", "Learning curves", "", pictures.curves(metrics))
    if example is not None:
        graph = example.picture()
        files["class-graph"] = drawing.save(home / "class-graph.png", graph)
        parts.append(f"<h2>The class graph of a test episode</h2>{drawing.to_figure(graph)}")
        caption = (
            WHY if example.known is None else WHY.replace("own supports,", "own supports, known classes,")
        )
        show("why", "Why a query got its class", caption, pictures.explanation(example))
        show("features", "Features and prototypes of the episode", FEATURES, pictures.features(example))
    shown = [score for score in scores if score.fingerprint == scores[0].fingerprint]
    mistakes = [score for score in shown if score.relations == "none"][-1]
    names = splits.test.class_names
    what = f"{mistakes.method}, {mistakes.mode}, {mistakes.way}-way {mistakes.shot}-shot."
    show("reliability", "Calibration", CALIBRATION, pictures.reliability(shown))
    show("risk-coverage", "Risk and coverage", RISK, pictures.risk_coverage(shown))
    show("confusions", "Confusions", f"{CONFUSIONS} {what}", pictures.confusions(mistakes.confusion, names))
    parts.append(_hardest(mistakes.confusion, splits.test, what))
    text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
    parts += ["<h2>Config</h2>", f"<pre>{escape(text)}</pre>"]
    with replacing(folder / "report.html") as temporary:
        write_text(temporary, page(name, "\n".join(parts)))
    return files


def results_table(scores: Sequence[Scores]) -> str:
    """The scores as an HTML table, one row each; those with relations to known classes last."""
    rows = [
        {
            **score.row(),
            "accuracy": f"{score.accuracy:.2f}",
            "ci95": f"{score.ci95:.2f}",
            **{name: f"{getattr(score, name):.3f}" for name in ("ece", "nll", "aurc")},
            "fingerprint": Markup(f"<code>{escape(score.fingerprint)}</code>"),
        }
        for score in scores
    ]
    given = any(score.relations != "none" for score in scores)
    rows.sort(key=lambda row: row["relations"] != "none")  # never mixed
    return table(rows, {key: name for key, name in COLUMNS.items() if given or key != "relations"})


def data_table(spec: str, splits: Splits) -> str:
    """The data with hashes of its content, which differ between copies that differ."""
    rows = [
        {
            "split": split,
            "classes": data.num_classes,
            "images": len(data),
            "hash": Markup(f"<code>{data.hash[:16]}</code>"),
        }
        for split, data in splits
    ]
    whole = f"<p>{escape(spec)}, content <code>{splits.hash}</code></p>"
    return whole + table(
        rows, {"split": "Split", "classes": "Classes", "images": "Images", "hash": "Content"}
    )


def _hardest(confusion: Int[Tensor, "classes classes"], data: PackedDataset, what: str) -> str:
    """The pairs of classes most often confused with each other, with images of both."""
    rows = [
        {
            "a": _with_samples(pair["a"], data),
            "b": _with_samples(pair["b"], data),
            "percent": f"{pair['percent']:.1f}",
            "count": pair["count"],
        }
        for pair in hardest_pairs(confusion, data.class_names, top=10)
    ]
    if not rows:
        return ""
    names = {"a": "Class", "b": "Class", "percent": "Confused, % of both", "count": "Queries"}
    return f'<h2>Hardest pairs of classes</h2><p class="soft">{escape(what)}</p>{table(rows, names)}'


def _with_samples(name: str, data: PackedDataset) -> Markup:
    first = int((data.labels < data.class_names.index(name)).sum())
    count = int(data.counts[data.class_names.index(name)])
    images = data.items[first : first + min(SAMPLES, count)]
    shown = "".join(f'<img src="{image_uri(larger(image.numpy(), 40))}" alt="">' for image in images)
    return Markup(f'<span class="sample"><span>{shown}</span>{escape(name)}</span>')
