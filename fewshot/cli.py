"""The `fewshot` command. Each function here is one command; its signature is its options."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fewshot.commandline import Parser, add_commands, add_overrides, complain
from fewshot.config import Config
from fewshot.errors import InputError
from fewshot.printing import (
    print_classes,
    print_info,
    print_rows,
    print_table,
    read_json,
    write_csv,
    write_json,
)

if TYPE_CHECKING:
    from fewshot.model import GraphFewShot

Mode = Literal["inductive", "joint"]


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

    Writes config.yaml, metrics.jsonl, results.json, checkpoint.pt and report.html. A run that stands there is
    moved to NAME.1, NAME.2, ...

    Any key of the config can be given as --section.key VALUE.

    Example: fewshot train --config glyphs --out runs/quick --meta.steps 300 --evaluate.ways "[5,20]"

    Args:
        config: A YAML file, or the name of a config that comes with the package.
        data: What to train on, KIND[:PATH], in place of the config's.
        out: Folder of the run; default runs/ and the config's name.
        resume: Go on with the run that stands in the folder.
        seed: In place of the config's.
        devices: How many GPUs, or auto: all that there are.
        logger: Any of csv, wandb, tensorboard, with commas between.
        json: Also write the results to this file.
    """
    from fewshot import config as configs
    from fewshot import training

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
    split: Literal["train", "val", "test"] = "test",
    way: int = 5,
    shot: int = 1,
    query: int = 15,
    episodes: int = 2000,
    seed: int = 0,
    mode: Mode = "inductive",
    classes: Literal["uniform", "hard"] = "uniform",
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
    from fewshot import EpisodeSampler
    from fewshot import evaluation as ev
    from fewshot.methods.prototypes import prototypes

    model = _load_model(checkpoint)
    images = getattr(_load_data(model, data), split)
    options: dict[str, Any] = {"seed": seed, "queries": queries, "label_noise": label_noise}
    # Of the images first: what does not fit is told before they are encoded.
    EpisodeSampler(images, way, shot, query, episodes=episodes, **options)
    options["classes"] = classes  # which are near may follow from the features
    sampler = EpisodeSampler(model.features(images), way, shot, query, episodes=episodes, **options)
    known = proportions == "known"
    label = f"{mode}-known" if known else mode
    graph = ev.evaluate(
        ev.as_predict(model.graph, joint=mode == "joint", know_proportions=known),
        sampler,
        method="class-graph",
        mode=label,
    )
    yardstick = ev.evaluate(ev.as_predict(prototypes), sampler, method="prototypes")
    difference = ev.paired_difference(graph, yardstick)
    pairs = ev.hardest_pairs(graph.confusion, images.class_names)
    rows = [graph.row(), yardstick.row()]
    print_rows(rows)
    print(f"class-graph - prototypes: {difference[0]:+.2f} ± {difference[1]:.2f} (paired, 95 %)\n")
    print_classes(graph.per_class, pairs)
    content = {
        "checkpoint": str(checkpoint),
        "split": split,
        "episodes": {"query": query, "proportions": proportions, **options},
        "rows": rows,
        "difference": dict(zip(("accuracy", "ci95"), difference, strict=True)),
        "per_class": graph.per_class,
        "hardest_pairs": pairs,
        "classes": list(images.class_names),
        "confusion": graph.confusion.tolist(),  # row: the class, column: what it was taken for
    }
    write_json(json, content)


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

    model = _load_model(checkpoint)
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

    drawing.check_extension(out)
    picture = own.class_picture(_load_model(checkpoint), support)
    print(drawing.save(out, picture))


def pack(
    spec: str, *, out: Path, size: int | None = None, channels: int | None = None, seed: int = 0
) -> None:
    """Turn a data set into a packed one, to be loaded as packed:OUT.

    Example: fewshot data pack folder:photos/ --out packs/photos --size 84

    Args:
        spec: KIND[:PATH]; PATH may be a folder, a .tar or a .zip.
        out: The new folder.
        size: Side of the images in pixels; default their own where all are equal and square, else 84.
        channels: 1 (grey) or 3 (colour); default 1 for glyphs, else 3.
        seed: Of what is random in a source, such as the split of a folder.
    """
    from fewshot import data

    splits = data.pack(spec, out, size=size, channels=channels, seed=seed)
    print_info(data.info(splits))


def info(spec: str, *, json: Path | None = None) -> None:
    """Describe a data set: its splits, classes and images.

    Example: fewshot data info glyphs

    Args:
        spec: KIND[:PATH]; PATH may be a folder, a .tar or a .zip.
        json: Also write the description to this file.
    """
    from fewshot import data

    content = data.info(data.load(spec))
    print_info(content)
    write_json(json, content)


def check(spec: str, *, against: str | None = None) -> None:
    """Verify a data set's checksums, and that its classes and counts are a benchmark's.

    Example: fewshot data check miniimagenet:/data/mini --against miniimagenet

    Args:
        spec: KIND[:PATH]; PATH may be a folder, a .tar or a .zip.
        against: A benchmark's name or its YAML file.
    """
    from fewshot import data

    if differences := data.check(spec, against=against):
        print("\n".join(differences))
        raise InputError(f"{spec}: {len(differences)} differences from {against}")
    print(f"{spec}: as it should be")


COMMANDS: dict[str, Callable[..., None] | dict[str, Callable[..., None]]] = {
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "graph": graph,
    "data": {"pack": pack, "info": info, "check": check},
}


def build_parser() -> Parser:
    """The parser of the whole command line."""
    from fewshot import __version__

    about = "Few-shot image classification with a learned graph of the episode's classes."
    parser = Parser(prog="fewshot", description=about, version=__version__)
    add_overrides(add_commands(parser, COMMANDS)["train"], Config, taken={"data", "seed"})
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, or 2 after one line on standard error for bad input."""
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
        command(**_flat(options.as_dict()))
    except BrokenPipeError:
        raise
    except (InputError, OSError) as error:
        complain(who, str(error))
        return 2
    return 0


def _load_model(checkpoint: Path) -> GraphFewShot:
    """A checkpoint, on the GPU where there is one."""
    import torch

    from fewshot.model import GraphFewShot

    return GraphFewShot.load(checkpoint).to("cuda" if torch.cuda.is_available() else "cpu")


def _load_data(model: GraphFewShot, spec: str | None) -> Any:
    """The splits to evaluate on, by default those the model was trained on, in the size it was trained at."""
    from fewshot.data import load

    spec = spec or model.extra.get("config", {}).get("data")
    if spec is None:
        raise InputError("data: expected KIND[:PATH], as the checkpoint does not say what it was trained on")
    if spec.startswith("packed:"):  # has its size already; the model resizes where need be
        return load(spec)
    return load(spec, size=model.preprocess.size, channels=model.preprocess.channels)


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
