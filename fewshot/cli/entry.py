"""The `fewshot` command. Each function here is one command; its signature is its options."""

from __future__ import annotations

import errno
import logging
import os
import re
import sys
import warnings
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
from fewshot.core.files import let_go
from fewshot.training.config import Config

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
TRACEBACK = "FEWSHOT_TRACEBACK"  # an environment variable

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
    _prepare()
    try:
        try:
            return _run(words)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has closed its end
        let_go(sys.stdout)
        return 141
    except OSError as error:  # the disk that standard output goes to is full
        let_go(sys.stdout)
        complain("fewshot", f"standard output: cannot be written ({error.strerror or error})")
        return 2


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
    except Exception as error:
        sys.stdout.flush()  # raises the error of standard output, if that is what cannot be written
        if isinstance(error, OSError) and error.filename is None and error.errno in FULL:
            raise  # likewise, past the buffer; a file that cannot be written has a name
        if TRACEBACK in os.environ and not isinstance(error, InputError):
            raise
        complain(who, _line(error))
        return 2


def _line(error: Exception) -> str:
    """What is wrong; of what should not have happened, what to do about it."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, InputError | OSError):
        return str(error)
    if isinstance(error, MemoryError) or re.search("not enough memory|can't allocate", str(error)):
        return "there is not enough memory for that"
    kind, text = type(error).__name__, str(error)[:300]
    return f"unexpected {kind}: {text} ({TRACEBACK}=1 shows where; please report it)"


def _prepare() -> None:
    """Give the process streams that take any text, and libraries that stay quiet and draw into files."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started it
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (as long as the process)
        stream = getattr(sys, name)
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    warnings.filterwarnings("ignore", module=r"PIL\.")  # of damaged images, which are decoded or refused
    logging.getLogger("PIL").addHandler(logging.NullHandler())  # likewise
    logging.getLogger("PIL").propagate = False
    os.environ["MPLBACKEND"] = "agg"  # whatever windows the user has; matplotlib fails on an unknown one
