"""Further pictures of a training run: curves, mistakes, probabilities, features, and an explained query."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from fewshot.core.files import replacing
from fewshot.evaluation.scores import Scores, hardest_pairs
from fewshot.graph.vectors import normalize
from fewshot.report.class_graph_layout import spectral_order
from fewshot.report.example import Example
from fewshot.report.html import channels_last, short_names, shorten

INK = "#010203"  # black; in a page it is replaced by the page's own text colour
LINES = {"accuracy": "training", "val_accuracy": "validation"}
MOST = 25  # classes in a table of confusions
RED, BLUE = "#c8371b", "#1f6feb"


def save_png(path: Path, figure: Figure) -> None:
    """Write a picture on white, atomically."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=160, facecolor="white")


def to_svg(figure: Figure) -> str:
    """A picture as an SVG element in the page's colours; the same picture always gives the same text."""
    stream = io.StringIO()
    # Text stays text; a fixed salt keeps the ids of its parts the same.
    with matplotlib.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "fewshot", "font.family": "sans-serif"}
    ):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    svg = stream.getvalue()
    return svg[svg.index("<svg") :].replace(INK, "currentColor")


def curves(metrics: Sequence[Mapping[str, Any]]) -> Figure:
    """Loss, and training and validation accuracy of each stage."""
    stages = list(dict.fromkeys(row["stage"] for row in metrics))
    figure = Figure(figsize=(4.2 * max(len(stages), 2), 5), layout="constrained")
    axes = figure.subplots(2, len(stages), squeeze=False, sharex="col")
    for column, stage in zip(axes.T, stages, strict=True):
        rows = [row for row in metrics if row["stage"] == stage]
        _curve(column[0], rows, "loss", "loss", "C1")
        for color, (key, label) in zip(("C0", "C2"), LINES.items(), strict=True):
            _curve(column[1], rows, key, label, color)
        column[0].set_title(stage)
        column[1].set_xlabel("step")
        if column[1].has_data():
            column[1].legend(frameon=False, labelcolor=INK)
    axes[0, 0].set_ylabel("loss")
    axes[1, 0].set_ylabel("accuracy, %")
    for axis in axes.flat:
        _plain(axis)
    return figure


def _curve(axis: Axes, rows: Sequence[Mapping[str, Any]], key: str, label: str, color: str) -> None:
    points = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
    if points:
        axis.plot(
            *zip(*points, strict=True), label=label, color=color, marker="." if len(points) < 40 else None
        )


def confusions(counts: Int[Tensor, "classes classes"], names: Sequence[str]) -> Figure:
    """The predictions for each class's queries, in percent; for many classes, only the hardest pairs.

    Args:
        counts: rows are true classes, columns predicted ones.
        names: of the classes.
    """
    chosen = _most_confused(counts, names)
    percent = (100 * counts.double() / counts.sum(1, keepdim=True).clamp_min(1)).numpy()[chosen][:, chosen]
    order = spectral_order(percent) if len(chosen) > 2 else list(range(len(chosen)))
    percent, labels = percent[order][:, order], short_names([names[chosen[i]] for i in order], 36)
    n = len(labels)
    figure = Figure(figsize=(4 + 0.36 * n, 3 + 0.36 * n), layout="constrained")
    axes = figure.subplots()
    _cells(axes, percent / 100, [[f"{v:.0f}" if v >= 0.5 else "" for v in row] for row in percent])
    axes.set_xticks(range(n), labels, rotation=45, ha="left", rotation_mode="anchor", parse_math=False)
    axes.set_yticks(range(n), labels, parse_math=False)
    axes.set(xlabel="taken for", ylabel="class")
    axes.xaxis.set_label_position("bottom")
    return figure


def _most_confused(counts: Int[Tensor, "classes classes"], names: Sequence[str]) -> list[int]:
    seen = counts.sum(1).nonzero().flatten().tolist()
    if len(seen) <= MOST:
        return seen
    pairs = hardest_pairs(counts, names, top=MOST)
    chosen = list(dict.fromkeys(names.index(pair[end]) for pair in pairs for end in ("a", "b")))
    return (chosen or seen)[:MOST]  # none if no class was confused with another


def reliability(scores: Sequence[Scores]) -> Figure:
    """How often each method is right by the probability that it gives, and the histogram of these."""
    figure = Figure(figsize=(6, 6.5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color=INK, lw=0.8, ls=":")
    for number, score in enumerate(scores):
        queries, sure, right = score.calibration.numpy().T
        some, color = queries > 0, f"C{number}"
        label = f"{_named(score)} (error {score.ece:.3f})"
        upper.plot(sure[some], right[some], color=color, marker="o", ms=4, label=label)
        edges = np.linspace(0, 1, len(queries) + 1)
        lower.stairs(100 * queries / queries.sum(), edges, color=color, lw=1.5)
    upper.set(ylabel="share of right answers", xlim=(0, 1), ylim=(0, 1))
    lower.set(xlabel="probability of the answer", ylabel="queries, %")
    upper.legend(frameon=False, labelcolor=INK, loc="upper left", fontsize=9)
    for axes in (upper, lower):
        _plain(axes)
    return figure


def risk_coverage(scores: Sequence[Scores]) -> Figure:
    """How many of its surest answers each method gets wrong, by the share of the queries that it answers."""
    figure = Figure(figsize=(6, 4.4), layout="constrained")
    axes = figure.subplots()
    for number, score in enumerate(scores):
        risk = 100 * score.risk.numpy()
        label = f"{_named(score)} (area {score.aurc:.3f})"
        axes.plot(np.linspace(100 / len(risk), 100, len(risk)), risk, color=f"C{number}", label=label)
    axes.set(xlabel="answered: the surest queries, %", ylabel="wrong answers among these, %", xlim=(0, 100))
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, labelcolor=INK, loc="upper left", fontsize=9)
    _plain(axes)
    return figure


def _named(score: Scores) -> str:
    """Method, mode and relations of a score."""
    return ", ".join([score.method, score.mode, *([score.relations] if score.relations != "none" else [])])


def features(example: Example) -> Figure:
    """An episode's features and prototypes on a plane (t-SNE), before and after the graph.

    Both halves share one plane, found for all features and prototypes together, with a fixed seed.
    """
    before, after = example.parts.prototypes_before[0], example.joint_prototypes
    n, m = len(example.names), len(example.labels)
    support = normalize(example.support).flatten(0, 1)
    spots = _on_a_plane(
        np.concatenate([part.numpy() for part in (support, normalize(example.query), before, after)])
    )
    supports, queries, *prototypes = np.split(spots, np.cumsum([len(support), m, n]))
    figure = Figure(figsize=(10.5, 5.8), layout="constrained")
    halves = figure.subplots(1, 2, sharex=True, sharey=True)
    answers = (example.parts.before[0].argmax(-1), example.joint_logits.argmax(-1))
    first = "of the supports" if example.known is None else "of supports and known classes"
    titles = (f"before: prototypes {first}", "after: the class graph, all queries together")
    own = np.arange(n).repeat(len(support) // n)
    for axes, title, stars, answer in zip(halves, titles, prototypes, answers, strict=True):
        wrong = (answer != example.labels).numpy()
        axes.set_title(f"{title}\n{wrong.sum()} of {m} queries assigned to another class", fontsize=10)
        for c in range(n):
            color, here = f"C{c}", (example.labels == c).numpy()
            axes.scatter(*queries[here].T, s=22, color=color, alpha=0.75, lw=0)
            axes.scatter(*supports[own == c].T, s=45, color=color, marker="s", ec=INK, lw=0.8)
            label = shorten(example.names[c]).replace("$", r"\$")
            axes.scatter(*stars[c], s=260, color=color, marker="*", ec=INK, lw=1, zorder=3, label=label)
        colors = [f"C{c}" for c in answer[wrong].tolist()]
        axes.scatter(*queries[wrong].T, s=80, facecolors="none", ec=colors, lw=1.6)
        axes.set(xticks=[], yticks=[])
        _plain(axes)
        axes.spines[:].set_visible(False)
    handles, labels = halves[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, labelcolor=INK)
    return figure


def _on_a_plane(x: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n 2"]:
    from sklearn.manifold import TSNE

    perplexity = min(20.0, (len(x) - 1) / 3)
    spots: Float[np.ndarray, "n 2"] = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(x)
    return spots


def explanation(example: Example) -> Figure:
    """For one query, what each class's message adds to each logit, and the probabilities before and after."""
    m, n, parts = example.most_moved(), len(example.names), example.parts
    messages = parts.messages[0, m].numpy()  # [N, N]
    columns = {"before": parts.before[0, m], "own supports": parts.own[0, m]}
    if example.known is not None:
        columns["known classes"] = parts.known[0, m]
    columns["handicap"] = parts.handicap[0, 0]
    first, wide = len(columns), len(columns) + n + 1  # the first column of messages, and all columns
    names = short_names(example.names, 25)
    figure = Figure(figsize=(6 + 1.15 * (n + first - 3), 3.4 + 0.55 * n), layout="constrained")
    query, table, bars = figure.subplots(1, 3, width_ratios=(2, 0.8 * wide, 3))
    truth = shorten(example.names[int(example.labels[m])], 20)
    _show(query, example.query_images[m].numpy(), f"a query of\n{truth}")
    sides = [side[:, None].numpy() for side in columns.values()]
    values = np.concatenate([*sides, messages, parts.after[0, m][:, None].numpy()], axis=1)
    shade = np.zeros_like(values)
    shade[:, first:-1] = messages / max(float(np.abs(messages).max()), 1e-9)
    # + 0.0: no minus zero
    text = [[f"{round(float(v), 2) + 0.0:+.2f}".replace("-", "−") for v in row] for row in values]
    _cells(table, shade, text)
    heads = [*columns, *(f"from {name}" for name in names), "after"]
    table.set_xticks(range(wide), heads, rotation=40, ha="left", rotation_mode="anchor", parse_math=False)
    table.set_yticks(range(n), names, parse_math=False)
    for x in (0.5, wide - 1.5):
        table.axvline(x, color=INK, lw=0.8)
    _bars(bars, example, m)
    return figure


def _bars(axes: Axes, example: Example, m: int) -> None:
    first = "supports alone" if example.known is None else "supports and known classes"
    stages = {
        first: example.parts.before[0, m],
        "with the classes' messages": example.parts.after[0, m],
        "with all queries, joint": example.joint_logits[m],
    }
    y = np.arange(len(example.names))
    for number, (label, logits) in enumerate(stages.items()):
        axes.barh(
            y + 0.27 * (number - 1), 100 * logits.softmax(-1).numpy(), 0.25, label=label, color=f"C{number}"
        )
    axes.set(ylim=(len(y) - 0.5, -0.5), yticks=[], xlabel="probability, %")
    axes.legend(frameon=False, labelcolor=INK, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    _plain(axes)


def _show(axes: Axes, image: UInt8[np.ndarray, "C H W"], title: str) -> None:
    axes.imshow(channels_last(image), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_title(title, fontsize=9, color=INK, parse_math=False)
    axes.set_axis_off()


def _cells(axes: Axes, shade: Float[np.ndarray, "rows columns"], text: Sequence[Sequence[str]]) -> None:
    """A table with a colour behind each cell: blue for shades up to 1, red for those down to -1."""
    pixels = np.zeros((*shade.shape, 4))
    pixels[..., :3] = np.where(shade[..., None] > 0, to_rgb(BLUE), to_rgb(RED))
    pixels[..., 3] = 0.65 * np.abs(shade)
    axes.imshow((255 * pixels).astype(np.uint8), aspect="auto", interpolation="nearest")
    for i, row in enumerate(text):
        for j, word in enumerate(row):
            # Excluded from the layout, which would measure each of them several times.
            axes.text(j, i, word, ha="center", va="center", fontsize=8, color=INK, in_layout=False)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, colors=INK, labelsize=8)
    axes.spines[:].set_visible(False)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(INK)


def _plain(axes: Axes) -> None:
    axes.grid(alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.tick_params(colors=INK)
    for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
        text.set_color(INK)
