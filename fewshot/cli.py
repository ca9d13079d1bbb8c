"""The `fewshot` command. Each function here is one command; its signature is its options."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from math import isnan, nan
from pathlib import Path
from typing import Any, Literal

from fewshot.cli_data import check, download, info, pack
from fewshot.commandline import Parser, add_commands, add_overrides, complain
from fewshot.config import Config
from fewshot.errors import InputError
from fewshot.printing import (
    check_outputs,
    print_checks,
    print_classes,
    print_compared,
    print_rows,
    print_table,
    read_json,
    tell,
    write_csv,
    write_json,
)

Mode = Literal["inductive", "joint"]
RANKS = ("confusions", "taxonomy")  # what dependencies are compared with
Split = Literal["train", "val", "test"]
Classes = Literal["uniform", "hard"]


def train(
    *,
    config: str,
    data: str | None = None,
    out: Path | None = None,
    resume: bool = False,
    seed: int | None = None,
    devices: str = "auto",
    logger: str = "csv",
    json: Path | None = None,
    **overrides: Any,
) -> None:
    """Train a model as a config says, and score it on the test classes.

    Writes config.yaml, metrics.jsonl, results.json, checkpoint.pt, report.html and its pictures. A run that
    stands there is moved to NAME.1, NAME.2, ...

    Any key of the config can be given as --section.key VALUE.

    Example: fewshot train --config glyphs --out runs/quick --meta.steps 300 --evaluate.ways "[5,20]"

    Args:
        config: A YAML file, or the name of a config that comes with the package.
        data: What to train on, KIND[:PATH], in place of the config's.
        out: Folder of the run; default runs/ and the config's name.
        resume: Go on with the run that stands in the folder.
        seed: In place of the config's.
        devices: How many GPUs, or processes where there is none; auto: all GPUs that there are.
        logger: Any of csv, wandb, tensorboard, with commas between. One that fails is left out.
        json: Also write the results to this file.
    """
    from fewshot import config as configs
    from fewshot import training

    check_outputs(json)
    given = {"data": data, "seed": seed}
    overrides |= {key: value for key, value in given.items() if value is not None}
    folder = training.train(
        configs.read(config, overrides),
        out=out,
        resume=resume,
        devices=int(devices) if devices.isdigit() else devices,
        loggers=[name for name in logger.split(",") if name],
    )
    if not _first_process():
        return
    rows = read_json(folder / "results.json")
    print_rows(rows)
    for file in sorted(folder.iterdir()):
        if file.is_file() and not file.name.startswith("."):
            print(file)
    write_json(json, rows)


def evaluate(
    checkpoint: Path,
    *,
    data: str | None = None,
    split: Split = "test",
    way: int = 5,
    shot: int = 1,
    query: int = 15,
    episodes: int = 2000,
    seed: int = 0,
    mode: Mode = "inductive",
    classes: Classes = "uniform",
    queries: str = "balanced",
    proportions: Literal["unknown", "known"] = "unknown",
    label_noise: float = 0.0,
    json: Path | None = None,
) -> None:
    """Score a checkpoint on episodes, beside prototypes on the same backbone and the very same episodes.

    Example: fewshot evaluate runs/glyphs/checkpoint.pt --way 20 --shot 5 --mode joint

    Args:
        checkpoint: What fewshot train wrote.
        data: KIND[:PATH]; default what the checkpoint was trained on.
        split: Whose classes.
        way: Classes an episode.
        shot: Supports a class.
        query: Queries a class.
        episodes: How many episodes.
        seed: Of the episodes.
        mode: Look at each query on its own, or at all queries together (transductive).
        classes: Any classes, or such as are near each other.
        queries: The classes' shares of the queries: balanced, or dirichlet:A (smaller A, more unequal).
        proportions: Whether the class graph is told these shares.
        label_noise: Share of the supports that carry a wrong label.
        json: Also write all figures to this file.
    """
    from fewshot import evaluation as ev
    from fewshot.dependencies import mean_dependencies, meaning
    from fewshot.inputs import open_checkpoint
    from fewshot.methods.prototypes import prototypes

    check_outputs(json)
    source = open_checkpoint(checkpoint, data)
    options = _episodes(way, shot, query, episodes, seed, classes, queries, label_noise)
    sampler = source.sampler(split, **options)
    known = proportions == "known"
    label = f"{mode}-known" if known else mode
    graph = ev.evaluate(
        ev.as_predict(source.graph, joint=mode == "joint", know_proportions=known),
        sampler,
        method="class-graph",
        mode=label,
    )
    yardstick = ev.evaluate(ev.as_predict(prototypes), sampler, method="prototypes")
    difference = ev.paired_difference(graph, yardstick)
    names = sampler.data.class_names
    pairs = ev.hardest_pairs(graph.confusion, names)
    rows = [graph.row(), yardstick.row()]
    print_rows(rows)
    if len(graph.per_episode) > 1:
        print(f"class-graph - prototypes: {difference[0]:+.2f} ± {difference[1]:.2f} (paired, 95 %)\n")
    print_classes(graph.per_class, pairs)
    ranks = meaning(mean_dependencies(source.graph.cpu(), sampler), graph.confusion, sampler.data)
    told = ", ".join(f"{ranks[name]:+.2f} with {name}" for name in RANKS if not isnan(ranks.get(name, nan)))
    if told:
        print(f"dependencies, rank correlation over {ranks['pairs']} pairs of classes: {told}")
    content = {
        "checkpoint": str(checkpoint),
        "split": split,
        "episodes": {**options, "proportions": proportions},
        "rows": rows,
        "difference": _numbers({"accuracy": difference[0], "ci95": difference[1]}),
        "per_class": graph.per_class,
        "hardest_pairs": pairs,
        "classes": list(names),
        "dependencies": _numbers(ranks),
        "confusion": graph.confusion.tolist(),  # row: the class, column: what it was taken for
    }
    write_json(json, content)


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
    from fewshot import charts, inputs
    from fewshot import compare as comparison

    if out is not None:
        charts.check_extension(out)
    check_outputs(json, out)
    modes = comparison.choose_modes(mode, proportions)
    comparison.choose(methods)  # unknown names are told before anything is loaded
    given = inputs.open_source(source, data)
    chosen, left_out = comparison.choose(methods, modes, given.lacks(split))
    options = _episodes(way, shot, query, episodes, seed, classes, queries, label_noise)
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


def audit(
    subject: str,
    *,
    features: Path | None = None,
    data: str | None = None,
    seed: int = 0,
    json: Path | None = None,
) -> int:
    """Check that results do not depend on what a method must not see, such as the order of the queries.

    Exit status 0 where all is as it should be, 1 where a check fails.

    Example: fewshot audit class-graph

    Args:
        subject: A method's name, or what fewshot train wrote.
        features: For a method: an .npz or .npy of features; default made-up ones.
        data: For a checkpoint: KIND[:PATH]; default what it was trained on, else made-up images.
        seed: Of the episodes, and of methods that learn.
        json: Also write the results to this file.
    """
    from fewshot import audit as protocol
    from fewshot import inputs

    check_outputs(json)
    call, modes, examples = inputs.open_subject(subject, features, data, seed, tell)
    episode = protocol.small_batch(protocol.fitting_sampler(examples, seed))
    checks = protocol.audit_modes(call, modes, episode, seed)
    print_checks(checks)
    failed = {mode: protocol.failures(found) for mode, found in checks.items()}
    rows = [{"mode": mode, **vars(check)} for mode, found in checks.items() for check in found]
    write_json(json, {"subject": subject, "tolerance": protocol.TOLERANCE, "failed": failed, "rows": rows})
    return int(any(failed.values()))


def predict(
    checkpoint: Path,
    *,
    support: Path,
    query: list[Path],
    mode: Mode = "inductive",
    absent: list[str] = [],  # noqa: B006 (never changed; what the help shows)
    present: list[str] = [],  # noqa: B006
    csv: Path | None = None,
) -> None:
    """Classify your own images by a few labelled ones.

    Example: fewshot predict runs/glyphs/checkpoint.pt --support letters/ --query scan.png scans/

    Args:
        checkpoint: What fewshot train wrote.
        support: A folder with a folder a class, each with at least one image.
        query: Image files, or folders of them.
        mode: Look at each query on its own, or at all queries together (transductive).
        absent: Classes that you know are not among the queries.
        present: Classes that you know are among the queries.
        csv: Also write the probabilities of all classes to this file.
    """
    from fewshot import predict as own
    from fewshot.inputs import load_model

    check_outputs(csv)
    model = load_model(checkpoint)
    found = own.predict(model, support, query, mode=mode, absent=absent, present=present)
    rows = [(str(p.file), p.name, f"{p.probability:.3f}") for p in found]
    print_table(("file", "class", "probability"), rows)
    if csv is not None:
        header = ["file", "class", "probability", *found[0].probabilities]
        table = [[p.file, p.name, p.probability, *p.probabilities.values()] for p in found]
        write_csv(csv, [header, *table])


def graph(checkpoint: Path, *, support: Path, out: Path) -> None:
    """Draw or export the learned class graph of your own classes.

    Example: fewshot graph runs/glyphs/checkpoint.pt --support letters/ --out letters.html

    Args:
        checkpoint: What fewshot train wrote.
        support: A folder with a folder a class, each with at least one image.
        out: The file; its ending says what it becomes: .png, .html, .graphml or .json.
    """
    from fewshot import drawing
    from fewshot import predict as own
    from fewshot.inputs import load_model

    drawing.check_extension(out)
    check_outputs(out)
    picture = own.class_picture(load_model(checkpoint), support)
    print(drawing.save(out, picture))


def export(
    checkpoint: Path,
    *,
    format: Literal["onnx", "torch"] = "onnx",
    mode: Mode = "inductive",
    out: Path | None = None,
) -> None:
    """Write backbone and class graph for other runtimes, with a model card.

    Example: fewshot export runs/glyphs/checkpoint.pt --format onnx --mode joint

    Args:
        checkpoint: What fewshot train wrote.
        format: ONNX files, or programs of torch.export, which need torch alone.
        mode: Of the graph: look at each query on its own, or at all queries together (transductive).
        out: A new folder; default beside the checkpoint, by format and mode.
    """
    from fewshot.export import check_target, export_model, read_results
    from fewshot.model import GraphFewShot

    out = out or checkpoint.parent / f"{format}-{mode}"
    check_target(out, format, mode)  # before anything is loaded
    model, results = GraphFewShot.load(checkpoint), read_results(checkpoint)
    export_model(model, out, format=format, mode=mode, results=results)
    for file in sorted(out.iterdir()):
        print(file)


COMMANDS: dict[str, Callable[..., Any] | dict[str, Callable[..., Any]]] = {
    "train": train,
    "evaluate": evaluate,
    "compare": compare,
    "audit": audit,
    "predict": predict,
    "graph": graph,
    "export": export,
    "data": {"pack": pack, "info": info, "check": check, "download": download},
}


def build_parser() -> Parser:
    """The parser of the whole command line."""
    from fewshot import __version__

    about = "Few-shot image classification with a learned graph of the episode's classes."
    parser = Parser(prog="fewshot", description=about, version=__version__)
    add_overrides(add_commands(parser, COMMANDS)["train"], Config, taken={"data", "seed"})
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status.

    0; or what the command returns, as an audit in which a check fails: 1; or 2, after one line on standard
    error, for bad input.
    """
    try:
        try:
            return _run(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        return 130


def _run(arguments: Sequence[str] | None) -> int:
    chosen = build_parser().parse_args(arguments)
    who, command, options = (
        f"fewshot {chosen.subcommand}",
        COMMANDS[chosen.subcommand],
        chosen[chosen.subcommand],
    )
    if isinstance(command, Mapping):
        name = options.subcommand
        who, command, options = f"{who} {name}", command[name], options[name]
    try:
        return command(**_flat(options.as_dict())) or 0
    except BrokenPipeError:
        raise
    except (InputError, OSError) as error:
        complain(who, str(error))
        return 2


def _episodes(
    way: int, shot: int, query: int, episodes: int, seed: int, classes: str, queries: str, label_noise: float
) -> dict[str, Any]:
    """The options of an `EpisodeSampler`, as they are also written to files of figures."""
    return dict(locals())


def _numbers(figures: Mapping[str, float | int]) -> dict[str, float | int | None]:
    """Figures as JSON has them, which knows no nan."""
    return {name: None if isnan(value) else value for name, value in figures.items()}


def _flat(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options as dotted keys."""
    result: dict[str, Any] = {}
    for key, value in options.items():
        result |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return result


def _first_process() -> bool:
    """Whether this is the process that reports, where several train together."""
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    return getattr(rank_zero_only, "rank", 0) == 0
