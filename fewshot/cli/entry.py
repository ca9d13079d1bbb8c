"""The `fewshot` command. Each function here is one command; its signature is its options."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fewshot.cli.audit import audit
from fewshot.cli.compare import compare
from fewshot.cli.data import check, download, info, pack
from fewshot.cli.env import env
from fewshot.cli.evaluate import evaluate
from fewshot.cli.export import export
from fewshot.cli.features import features
from fewshot.cli.names import names
from fewshot.cli.parser import (
    Parser,
    add_commands,
    add_overrides,
    arguments,
    complain,
    with_stages_left_out,
)
from fewshot.cli.predict import graph, predict
from fewshot.cli.serve import serve
from fewshot.cli.suggest import suggest
from fewshot.cli.train import train
from fewshot.core.errors import InputError
from fewshot.training.config import Config

COMMANDS: dict[str, Callable[..., Any] | dict[str, Callable[..., Any]]] = {
    "train": train,
    "evaluate": evaluate,
    "compare": compare,
    "audit": audit,
    "predict": predict,
    "suggest": suggest,
    "serve": serve,
    "graph": graph,
    "export": export,
    "features": features,
    "names": names,
    "env": env,
    "data": {"pack": pack, "info": info, "check": check, "download": download},
}


def build_parser() -> Parser:
    """The parser of the whole command line."""
    from fewshot import __version__

    about = "Few-shot image classification with a graph of the episode's classes."
    parser = Parser(prog="fewshot", description=about, version=__version__)
    add_overrides(add_commands(parser, COMMANDS)["train"], Config, taken={"data", "seed"})
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status.

    It is 0, or what the command returns, such as 1 for an audit in which a check fails, or 2 for bad input,
    after one line on standard error.
    """
    try:
        try:
            return _run(words)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has closed its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        return 130


def _run(words: Sequence[str] | None) -> int:
    words = sys.argv[1:] if words is None else words
    chosen = build_parser().parse_args(with_stages_left_out(words, Config))
    who, command = f"fewshot {chosen.subcommand}", COMMANDS[chosen.subcommand]
    options = chosen[chosen.subcommand]
    if isinstance(command, Mapping):
        name = options.subcommand
        who, command, options = f"{who} {name}", command[name], options[name]
    try:
        return command(**arguments(command, vars(options.as_flat()))) or 0
    except BrokenPipeError:
        raise
    except (InputError, OSError) as error:
        complain(who, str(error))
        return 2
