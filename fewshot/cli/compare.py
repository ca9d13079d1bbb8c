"""`fewshot compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from fewshot.cli.options import Classes, Split, episode_options
from fewshot.cli.output import check_outputs, print_compared
from fewshot.core.files import tell, write_json


def compare(
    source: Path,
    *,
    methods: str | None = None,
    data: str | None = None,
    split: Split = "test",
    way: int = 5,
    shot: int = 1,
    query: int = 15,
    episodes: int = 2000,
    seed: int = 0,
    mode: Literal["all", "inductive", "joint"] = "all",
    classes: Classes = "uniform",
    queries: str = "balanced",
    proportions: Literal["both", "unknown", "known"] = "both",
    label_noise: float = 0.0,
    json: Path | None = None,
    out: Path | None = None,
) -> None:
    """Score methods on the very same episodes, with the difference of each from prototypes (ProtoNet).

    Each method is audited too: does its result depend on what it must not see?

    Example: fewshot compare runs/glyphs/checkpoint.pt --shot 5 --out methods.png

    Args:
        source: What fewshot train wrote, or an .npz or .npy of features.
        methods: Their names with commas between; default all but those that train on images, for minutes.
        data: KIND[:PATH]; default what the checkpoint was trained on.
        split: Whose classes.
        way: Classes an episode.
        shot: Supports a class.
        query: Queries a class.
        episodes: How many episodes.
        seed: Of the episodes, and of methods that learn.
        mode: Look at each query on its own, or at all queries together (transductive), or both ways.
        classes: Any classes, or such as are near each other.
        queries: The classes' shares of the queries: balanced, or dirichlet:A (smaller A, more unequal).
        proportions: Whether joint methods are told these shares.
        label_noise: Share of the supports that carry a wrong label.
        json: Also write all figures to this file.
        out: Also draw them; a file that ends in .png, .svg or .pdf.
    """
    from fewshot.evaluation import compare as comparison
    from fewshot.evaluation import inputs
    from fewshot.report import comparison_chart as charts

    if out is not None:
        charts.check_extension(out)
    check_outputs(json, out)
    modes = comparison.choose_modes(mode, proportions)
    comparison.choose(methods)  # unknown names are told before anything is loaded
    given = inputs.open_source(source, data)
    chosen, left_out = comparison.choose(methods, modes, given.lacks(split))
    options = episode_options(way, shot, query, episodes, seed, classes, queries, label_noise)
    sampler = given.sampler(split, **options)
    for line in left_out + given.remarks():
        tell(line)
    needs = {method.needs for method in chosen}
    found = comparison.compare(
        chosen,
        given.material(sampler, split, base="base" in needs),
        sampler,
        given.image_sampler(split, sampler, **options) if "images" in needs else None,
        modes,
        progress=tell,
    )
    rows = [row.row() for row in found]
    print(f"{way}-way {shot}-shot, {episodes} episodes of {split}, fingerprint {rows[0]['fingerprint']}")
    print_compared(rows)
    content = {
        "source": str(source),
        "split": split,
        "data": given.facts(sampler.data),
        "episodes": {**options, "fingerprint": rows[0]["fingerprint"]},
        "rows": rows,
    }
    write_json(json, content)
    if out is not None:
        print(charts.save_comparison(out, rows, f"{source.name}, {split}: {way}-way {shot}-shot"))
