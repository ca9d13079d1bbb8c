"""The report of a training run: one HTML page with its results, curves, hardest classes and a class graph."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
import yaml
from jaxtyping import UInt8
from matplotlib.figure import Figure
from torch import Tensor

from fewshot.data.labelled import LabelledSet
from fewshot.drawing import Picture, to_figure
from fewshot.episodes import EpisodeSampler
from fewshot.evaluation import Scores, hardest_pairs
from fewshot.files import replacing
from fewshot.model import GraphFewShot
from fewshot.pages import Markup, image_uri, page, table

INK = "#010203"  # stands for the page's own colour of text until the figure is in the page
COLUMNS = {
    "method": "Method",
    "mode": "Mode",
    "way": "Way",
    "shot": "Shot",
    "accuracy": "Accuracy, %",
    "ci95": "± (95 %)",
    "ece": "Calibration error",
    "episodes": "Episodes",
    "fingerprint": "Fingerprint",
}
LINES = {"accuracy": "training", "val_accuracy": "validation"}
SAMPLES = 3  # images of a class beside its name


def write_report(
    path: str | Path,
    *,
    config: Mapping[str, Any],
    metrics: Sequence[Mapping[str, Any]],
    scores: Sequence[Scores],
    data: LabelledSet,
    picture: Picture | None = None,
) -> None:
    """Write ``report.html``, a page that needs nothing beside it, atomically.

    Args:
        path: the file.
        config: of the run, as plain values.
        metrics: the rows of ``metrics.jsonl``: each with ``stage`` and ``step``, and some with ``loss``,
            ``accuracy`` or ``val_accuracy`` (percent).
        scores: on the test classes. The hardest pairs are those of the last one in the way and shot of the
            first one.
        data: the test images **[n, C, H, W]** with their classes.
        picture: the class graph of a test episode, see `episode_picture`; default None leaves it out.
    """
    name = str(config.get("name", "run"))
    described = (
        f"{data.num_classes} test classes of {config.get('data', 'unknown data')}, seed {config.get('seed')}"
    )
    parts = [f'<h1>{escape(name)}</h1><p class="soft">{escape(described)}</p>']
    if scores:
        parts += ["<h2>Results</h2>", results_table(scores)]
    if metrics:
        parts += ["<h2>Learning curves</h2>", f"<figure>{curves(metrics)}</figure>"]
    if scores:
        parts.append(_hardest(_shown(scores), data))
    if picture is not None:
        parts += ["<h2>The classes of a test episode</h2>", to_figure(picture)]
    text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
    parts += ["<h2>Config</h2>", f"<pre>{escape(text)}</pre>"]
    with replacing(path) as temporary:
        temporary.write_text(page(name, "\n".join(parts)), encoding="utf-8")


def results_table(scores: Sequence[Scores]) -> str:
    """The scores as an HTML table, one row each."""
    rows = [
        {
            **score.row(),
            "accuracy": f"{score.accuracy:.2f}",
            "ci95": f"{score.ci95:.2f}",
            "ece": f"{score.ece:.3f}",
            "fingerprint": Markup(f"<code>{escape(score.fingerprint)}</code>"),
        }
        for score in scores
    ]
    return table(rows, COLUMNS)


def curves(metrics: Sequence[Mapping[str, Any]]) -> str:
    """Loss, and training and validation accuracy of each stage, as an SVG element in the page's colours."""
    stages = list(dict.fromkeys(row["stage"] for row in metrics))
    figure = Figure(figsize=(4.2 * max(len(stages), 2), 5), layout="constrained")
    axes = figure.subplots(2, len(stages), squeeze=False, sharex="col")
    for column, stage in zip(axes.T, stages, strict=True):
        rows = [row for row in metrics if row["stage"] == stage]
        _plot(column[0], rows, "loss", "loss", "C1")
        for color, (key, label) in zip(("C0", "C2"), LINES.items(), strict=True):
            _plot(column[1], rows, key, label, color)
        column[0].set_title(stage)
        column[1].set_xlabel("step")
        if column[1].has_data():
            column[1].legend(frameon=False, labelcolor=INK)
    axes[0, 0].set_ylabel("loss")
    axes[1, 0].set_ylabel("accuracy, %")
    for axis in axes.flat:
        axis.grid(alpha=0.2)
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines[["left", "bottom"]].set_color(INK)
        axis.tick_params(colors=INK)
        for text in (axis.title, axis.xaxis.label, axis.yaxis.label):
            text.set_color(INK)
    stream = io.StringIO()
    # Text stays text; a fixed salt keeps the file the same for the same run.
    with matplotlib.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "fewshot", "font.family": "sans-serif"}
    ):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    svg = stream.getvalue()
    return svg[svg.index("<svg") :].replace(INK, "currentColor")


def _plot(axis: Any, rows: Sequence[Mapping[str, Any]], key: str, label: str, color: str) -> None:
    points = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
    if points:
        axis.plot(
            *zip(*points, strict=True), label=label, color=color, marker="." if len(points) < 40 else None
        )


def episode_picture(
    model: GraphFewShot, data: LabelledSet, *, way: int = 5, shot: int = 5, seed: int = 0
) -> Picture:
    """The class graph of the first test episode, of as many classes and images as there are, up to these."""
    way, shot = min(way, data.num_classes), max(1, min(shot, int(data.counts.min()) - 1))
    episode = next(iter(EpisodeSampler(data, way, shot, query=1, batch=1, episodes=1, seed=seed)))
    assert episode.support is not None  # gathered by default
    assert episode.query is not None
    device = model.base_mean.device
    with torch.no_grad():
        output = model(episode.support.to(device), episode.query.to(device))
    names = [data.class_names[c] for c in episode.classes[0].tolist()]
    images = [larger(image) for image in episode.support[0, :, 0].cpu()]
    return Picture(names, output.dependencies[0].double().cpu().numpy(), images)


def larger(image: Tensor, least: int = 96) -> UInt8[np.ndarray, "C H W"]:
    """A uint8 image [C, H, W], its pixels repeated so that a browser does not blur a small one."""
    times = max(1, round(least / image.shape[-1]))
    return image.repeat_interleave(times, -1).repeat_interleave(times, -2).numpy()


def _shown(scores: Sequence[Scores]) -> Scores:
    """The scores whose mistakes are shown: of the last method on episodes as the first one's."""
    return [s for s in scores if s.fingerprint == scores[0].fingerprint][-1]


def _hardest(scores: Scores, data: LabelledSet) -> str:
    """The pairs of classes most often taken for each other, with images of both."""
    rows = [
        {
            "a": _with_samples(pair["a"], data),
            "b": _with_samples(pair["b"], data),
            "percent": f"{pair['percent']:.1f}",
            "count": pair["count"],
        }
        for pair in hardest_pairs(scores.confusion, data.class_names, top=10)
    ]
    if not rows:
        return ""
    what = f"{scores.method}, {scores.mode}, {scores.way}-way {scores.shot}-shot"
    names = {"a": "Class", "b": "Class", "percent": "Taken for the other, % of both", "count": "Queries"}
    return f'<h2>Hardest pairs of classes</h2><p class="soft">{escape(what)}</p>{table(rows, names)}'


def _with_samples(name: str, data: LabelledSet) -> Markup:
    first = int((data.labels < data.class_names.index(name)).sum())
    count = int(data.counts[data.class_names.index(name)])
    images = data.items[first : first + min(SAMPLES, count)]
    shown = "".join(f'<img src="{image_uri(larger(image, 40))}" alt="">' for image in images)
    return Markup(f'<span class="sample"><span>{shown}</span>{escape(name)}</span>')
