"""`fewshot compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from fewshot.cli.files import OutputFile, check_kept, check_outputs, read_of_data, read_of_source
from fewshot.cli.options import EpisodeOptions, KnowledgeOptions
from fewshot.cli.output import print_compared, print_seen, print_unknown
from fewshot.core.files import say, tell, write_json


def compare(
    source: str,
    *,
    methods: str | None = None,
    options: EpisodeOptions,
    knowledge: KnowledgeOptions,
    mode: Literal["all", "inductive", "joint"] = "all",
    proportions: Literal["both", "unknown", "known"] = "both",
    reference: str = "prototypes",
    json: OutputFile | None = None,
    episodes_out: OutputFile | None = None,
    out: OutputFile | None = None,
) -> None:
    """Score methods on the very same episodes, with the difference of each from prototypes (ProtoNet).

    Each method is also audited: does its result depend on what it must not see? With relations, those that
    look at them are scored once more, with them.

    Inductive methods: prototypes, transformed (prototypes after the class graph's transform), simpleshot,
    nearest-centroid, logistic-regression, matching, niw, feat, gnn, egnn, maml, anil, class-graph.
    Joint methods: label-propagation, bd-cspn, laplacian-shot, tim, alpha-tim, pt-map, egnn, class-graph.
    With relations: class-graph, known-calibration, kernel-regression, mixture, zero-shot.
    Your own: FILE.py:NAME, a function or class that is called as these are (docs/own_method.md).

    Example: fewshot compare runs/glyphs/checkpoint.pt --shot 5 --out methods.png
    Example: fewshot compare features.npz --methods class-graph,mine.py:median --out methods.png

    Args:
        source: What fewshot train wrote, a ready model (imagenet), or a file of features: an .npz with
            features [n, D], labels [n] and split [n] (train, val or test; features of train give the mean
            that is subtracted), or with features [classes, images, D], wnids [classes] and split [classes];
            optionally names and paths, one per class; or an .npy of features [n, D] with NAME.labels.npy next
            to it (docs/features.md). np.savez("f.npz", features=X, labels=y, split=np.full(len(y), "test"))
            writes one.
        methods: Their names, separated by commas, FILE.py:NAME for your own; default all except those that
            train on images, for minutes. With class-graph comes transformed.
        options: The episodes.
        knowledge: What is known besides.
        mode: Look at each query on its own, or at all queries together (transductive), or both.
        proportions: Whether joint methods are given the classes' shares of the queries.
        reference: What the differences are from: a method, or FILE.py:NAME. Each row is compared with it in
            the row's own mode, if it has that.
        json: Also write all figures to this file.
        episodes_out: Also write each method's accuracy in each episode to this .npz file.
        out: Also draw them, to a file that ends in .png, .svg or .pdf.
    """
    from fewshot.evaluation import choice, inputs
    from fewshot.evaluation import compare as comparison
    from fewshot.evaluation.episodes_file import check_episodes_file, write_episodes
    from fewshot.evaluation.joint_check import joint_below
    from fewshot.evaluation.open_set import score_unknown
    from fewshot.methods import own
    from fewshot.methods.open_set import RULES
    from fewshot.report import comparison_chart as charts

    if out is not None:
        charts.check_extension(out)
    check_episodes_file(episodes_out)
    outputs = (json, episodes_out, out)
    read = read_of_source(source, methods, reference, knowledge.without_known)
    check_outputs(*outputs, inputs=[*read, *read_of_data(options.data)])
    modes = choice.choose_modes(mode, proportions)
    related = knowledge.relations != "none"
    # Unknown names are reported before anything is loaded.
    named = None if methods is None else own.find(methods)
    first = choice.choose_reference(reference, choice.choose(named, relations=related)[0])
    split, sampling = options.split, options.sampling()
    scored = inputs.open_source(source, options.data, knowledge.without_known)
    check_kept(outputs, read_of_data(scored.spec))
    lacks = scored.lacks(split)
    chosen, left_out = choice.choose(named, modes, lacks, related, scored.untransformed())
    first = choice.choose_reference(first, chosen, lacks, scored.untransformed())
    strangers = scored.sampler(split, **sampling, unknown=options.unknown)
    sampler = strangers.without_unknown()
    relations = scored.relations(knowledge.relations, split, options.seed)
    for line in left_out + scored.remarks():
        tell(line)
    rules = [rule for rule in RULES if options.unknown and rule.needs not in lacks]
    needs = {method.needs for method in [first, *chosen, *rules]}
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
        reference=first,
    )
    rows = [row.row() for row in found]
    shape, fingerprint = f"{options.way}-way {options.shot}-shot", rows[0]["fingerprint"]
    print(f"{shape}, {options.episodes} episodes of {split}, fingerprint {fingerprint}")
    print_compared(rows)
    for line in joint_below([row.scores for row in found]):
        tell(line)
    print_seen(scored.seen(split), sampler.data.num_classes, source)
    content: dict[str, Any] = {
        "source": source,
        "split": split,
        "data": scored.facts(sampler.data),
        "episodes": {**sampling, "fingerprint": fingerprint},
        "knowledge": knowledge.described(),
        "seen_classes": len(scored.seen(split)),
        "left_out": left_out,
        "rows": rows,
    }
    if rules:
        recognised = score_unknown(rules, material, strangers, modes, relations, belief, progress=tell)
        content["unknown"] = unknown = [row.row() for row in recognised]
        print_unknown(unknown)
    write_json(json, content)
    if episodes_out is not None:
        print(write_episodes(episodes_out, [row.scores for row in found]))
    if out is not None:
        say(charts.save_comparison(out, rows, f"{Path(source).name}, {split}: {shape}"))
