"""`fewshot compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from fewshot.cli.options import EpisodeOptions, KnowledgeOptions
from fewshot.cli.output import check_outputs, print_compared, print_unknown
from fewshot.core.files import say, tell, write_json


def compare(
    source: Path,
    *,
    methods: str | None = None,
    options: EpisodeOptions,
    knowledge: KnowledgeOptions,
    mode: Literal["all", "inductive", "joint"] = "all",
    proportions: Literal["both", "unknown", "known"] = "both",
    json: Path | None = None,
    out: Path | None = None,
) -> None:
    """Score methods on the very same episodes, with the difference of each from prototypes (ProtoNet).

    Each method is also audited: does its result depend on what it must not see? With relations, those that
    look at them are scored once more, with them.

    Example: fewshot compare runs/glyphs/checkpoint.pt --shot 5 --out methods.png

    Args:
        source: What fewshot train wrote, or an .npz or .npy of features.
        methods: Their names, separated by commas; default all except those that train on images, for minutes.
        options: The episodes.
        knowledge: What is known besides.
        mode: Look at each query on its own, or at all queries together (transductive), or both.
        proportions: Whether joint methods are given the classes' shares of the queries.
        json: Also write all figures to this file.
        out: Also draw them, to a file that ends in .png, .svg or .pdf.
    """
    from fewshot.evaluation import compare as comparison
    from fewshot.evaluation import inputs
    from fewshot.evaluation.open_set import score_unknown
    from fewshot.methods.open_set import RULES
    from fewshot.report import comparison_chart as charts

    if out is not None:
        charts.check_extension(out)
    check_outputs(json, out, inputs=[source])
    modes = comparison.choose_modes(mode, proportions)
    related = knowledge.relations != "none"
    comparison.choose(methods, relations=related)  # unknown names are reported before anything is loaded
    split, sampling = options.split, options.sampling()
    scored = inputs.open_source(source, options.data)
    lacks = scored.lacks(split)
    chosen, left_out = comparison.choose(methods, modes, lacks, related)
    strangers = scored.sampler(split, **sampling, unknown=options.unknown)
    sampler = strangers.without_unknown()
    relations = scored.relations(knowledge.relations, split, options.seed)
    for line in left_out + scored.remarks():
        tell(line)
    rules = [rule for rule in RULES if options.unknown and rule.needs not in lacks]
    needs = {method.needs for method in [*chosen, *rules]}
    material = scored.material(sampler, split, base=bool(needs & {"base", "known"}), relations=relations)
    belief = knowledge.given_belief
    found = comparison.compare(
        chosen,
        material,
        sampler,
        scored.image_sampler(split, sampler, **sampling) if "images" in needs else None,
        modes,
        progress=tell,
        relations=relations,
        belief=belief,
    )
    rows = [row.row() for row in found]
    shape, fingerprint = f"{options.way}-way {options.shot}-shot", rows[0]["fingerprint"]
    print(f"{shape}, {options.episodes} episodes of {split}, fingerprint {fingerprint}")
    print_compared(rows)
    content: dict[str, Any] = {
        "source": str(source),
        "split": split,
        "data": scored.facts(sampler.data),
        "episodes": {**sampling, "fingerprint": fingerprint},
        "knowledge": vars(knowledge),
        "rows": rows,
    }
    if rules:
        recognised = score_unknown(rules, material, strangers, modes, relations, belief, progress=tell)
        content["unknown"] = unknown = [row.row() for row in recognised]
        print_unknown(unknown)
    write_json(json, content)
    if out is not None:
        say(charts.save_comparison(out, rows, f"{source.name}, {split}: {shape}"))
