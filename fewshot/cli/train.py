"""`fewshot train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fewshot.cli.files import OutputFile, check_different, check_outputs, read_of_data, read_of_source
from fewshot.cli.output import print_rows
from fewshot.cli.parser import LEFT_OUT
from fewshot.core.files import expanded, say, write_json
from fewshot.core.results_file import read_results

# What a run writes into its folder, and --json must not.
WRITTEN = ("config.yaml", "metrics.jsonl", "results.json", "state.pt", "checkpoint.pt", "report.html")


def train(
    *,
    config: str,
    data: str | None = None,
    out: Path | None = None,
    resume: bool = False,
    seed: int | None = None,
    devices: str = "auto",
    logger: str = "csv",
    json: OutputFile | None = None,
    **overrides: Any,
) -> None:
    """Train a model according to a config, and score it on the test classes.

    Writes config.yaml, metrics.jsonl, results.json, checkpoint.pt, report.html and its pictures. A finished
    run in the same folder is first moved to NAME.1, NAME.2, ...

    Any key of the config can be given as --section.key VALUE; --pretrain, --meta or --graph null leaves a
    stage out.

    Example: fewshot train --config glyphs --out runs/quick --meta.steps 300 --evaluate.ways "[5,20]"

    Args:
        config: A YAML file, or the name of a config that comes with the package.
        data: What to train on, KIND[:PATH]; replaces the config's.
        out: Folder of the run; default runs/ and the config's name.
        resume: Continue the run in the folder.
        seed: Replaces the config's.
        devices: Number of GPUs, or of processes if there is no GPU; auto: all GPUs.
        logger: Any of csv, wandb, tensorboard, separated by commas. One that fails is left out.
        json: Also write the results to this file.
    """
    from fewshot.training import config as configs
    from fewshot.training import run as training

    given = {"data": data, "seed": seed}
    overrides |= dict.fromkeys(overrides.pop(LEFT_OUT, ()))
    overrides |= {key: value for key, value in given.items() if value is not None}
    read = configs.read(config, overrides)
    out = expanded(out or Path("runs") / read.name)
    check_outputs(json, inputs=[*read_of_source(config, read.weights), *read_of_data(read.data)])
    if json is not None:
        check_different([json, *(out / name for name in WRITTEN)])
    folder = training.train(
        read,
        out=out,
        resume=resume,
        devices=int(devices) if devices.isdecimal() else devices,
        loggers=[name for name in logger.split(",") if name],
    )
    if not _first_process():
        return
    rows = read_results(folder / "results.json")
    print_rows(rows)
    for file in sorted(folder.iterdir()):
        if file.is_file() and not file.name.startswith("."):
            say(file)
    write_json(json, rows)


def _first_process() -> bool:
    """Whether this is the process that reports, if several train together."""
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    return getattr(rank_zero_only, "rank", 0) == 0
