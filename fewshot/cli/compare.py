"""`fewshot compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from fewshot.cli.options import EpisodeOptions
from fewshot.cli.output import check_outputs, print_compared
from fewshot.core.files import tell, write_json


def compare(
    source: Path,
    *,
    methods: str | None = None,
    options: EpisodeOptions,
    mode: Literal["all", "inductive", "joint"] = "all",
    proportions: Literal["both", "unknown", "known"] = "both",
    json: Path | None = None,
    out: Path | None = None,
) -> None:
    """Score methods on the very same episodes, with the difference of each from prototypes (ProtoNet).

    Each method is also audited: does its result depend on what it must not see?

    Example: fewshot compare runs/glyphs/checkpoint.pt --shot 5 --out methods.png

    Args:
        source: What fewshot train wrote, or an .npz or .npy of features.
        methods: Their names, separated by commas; default all except those that train on images, for minutes.
        options: The episodes.
        mode: Look at each query on its own, or at all queries together (transductive), or both.
        proportions: Whether joint methods are given the classes' shares of the queries.
        json: Also write all figures to this file.
        out: Also draw them, to a file that ends in .png, .svg or .pdf.
    """
    from fewshot.evaluation import compare as comparison
    from fewshot.evaluation import inputs
    from fewshot.report import comparison_chart as charts

    if out is not None:
        charts.check_extension(out)
    check_outputs(json, out)
    modes = comparison.choose_modes(mode, proportions)
    comparison.choose(methods)  # unknown names are reported before anything is loaded
    split, sampling = options.split, options.sampling()
    scored = inputs.open_source(source, options.data)
    chosen, left_out = comparison.choose(methods, modes, scored.lacks(split))
    sampler = scored.sampler(split, **sampling)
    for line in left_out + scored.remarks():
        tell(line)
    needs = {method.needs for method in chosen}
    found = comparison.compare(
        chosen,
        scored.material(sampler, split, base="base" in needs),
        sampler,
        scored.image_sampler(split, sampler, **sampling) if "images" in needs else None,
        modes,
        progress=tell,
    )
    rows = [row.row() for row in found]
    shape, fingerprint = f"{options.way}-way {options.shot}-shot", rows[0]["fingerprint"]
    print(f"{shape}, {options.episodes} episodes of {split}, fingerprint {fingerprint}")
    print_compared(rows)
    content = {
        "source": str(source),
        "split": split,
        "data": scored.facts(sampler.data),
        "episodes": {**sampling, "fingerprint": fingerprint},
        "rows": rows,
    }
    write_json(json, content)
    if out is not None:
        print(charts.save_comparison(out, rows, f"{source.name}, {split}: {shape}"))
