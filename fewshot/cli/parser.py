"""Parsers of the command line from typed functions. Imports nothing heavy, so that ``--help`` is instant."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from inspect import Parameter, signature
from typing import Any, NoReturn, get_args, get_origin, get_type_hints

import docstring_parser
from jsonargparse import ArgumentParser, DefaultHelpFormatter

from fewshot.cli.files import OutputFile, output_file
from fewshot.cli.values import MODE, number, of_config, text_of_config, whole
from fewshot.core.escape import printable
from fewshot.core.files import let_go

Command = Callable[..., None]
READERS: dict[Any, Callable[[Any], Any]] = {OutputFile: output_file, int: whole, float: number}
SHOWN: dict[Any, str] = {output_file: "Path", whole: "int", number: "float"}  # in the help
LONGEST = 2000  # characters of a message
LEFT_OUT = "left_out"  # the option that `--meta null` becomes


class Formatter(DefaultHelpFormatter):
    """Keeps the lines of a description, so that an example stays on its own line."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(indent + line for line in text.splitlines())

    def _get_type_str(self, action: argparse.Action) -> str | None:
        if action.type in SHOWN:
            return SHOWN[action.type]
        text = super()._get_type_str(action)
        return text and re.sub(r"<class '(\w+)'>", r"\1", text)


class Parser(ArgumentParser):
    """Reports what is wrong in one line on standard error, with exit status 2."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=Formatter, allow_abbrev=False, parser_mode=MODE, **options)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if message.startswith("unrecognized arguments: --"):
            wrong = message.split()[2].split("=")[0]
            near = get_close_matches(wrong, self._option_string_actions, n=1)
            message = f"unknown option {wrong}" + (f" (did you mean {near[0]}?)" if near else "")
        complain(self.prog, message)
        sys.exit(2)


PLAINER = [  # patterns of jsonargparse's messages, and the wording that this package uses
    (r'^Parser key "([\w.]+)"(?: element \d+)?: ', r"\1: "),
    (r"Expected a <class '(\w+)'>\. Got value: ", r"expected \1, got "),
    (r"Expected a typing\.Literal\[(.*?)\]\. Got value: ?", r"expected one of \1, got "),
    (
        r"Does not validate against any of the Union subtypes .*?Expected a <class '(\w+)'>.* Given value: ?",
        r"expected \1, got ",
    ),
    (r'expected "[\w.]*subcommand" to be one of {(.*)}, but it was not provided\.', r"expected one of \1"),
    (r"the following arguments are required: \w+\.(\w+)", r"\1: expected --\1"),
    (r"^argument --(\S+): (?=expected)", r"\1: "),
    (r"argument COMMAND: invalid choice: (\S+) \(choose from (.*)\)", r"expected one of \2, got \1"),
]


def complain(who: str, message: str) -> None:
    """Write one line to standard error: the command, and what is wrong.

    >>> from contextlib import redirect_stderr
    >>> with redirect_stderr(sys.stdout):
    ...     complain("fewshot evaluate", "way: Expected a <class 'int'>. Got value: y")
    fewshot evaluate: error: way: expected int, got y
    """
    line = printable(" ".join(message[:LONGEST].split()))
    for pattern, words in PLAINER:
        line = re.sub(pattern, words, line)
    try:
        print(f"{who}: error: {line}", file=sys.stderr, flush=True)
    except OSError:  # full or closed; the exit status still says it
        let_go(sys.stderr)


def add_commands(
    parser: Parser, commands: Mapping[str, Command | Mapping[str, Command]]
) -> dict[str, Parser]:
    """Give a parser subcommands, each from a typed function, or from several functions by name.

    A function's positional parameters are positional; keyword-only ones are options: a bool is a flag, a list
    takes several values, a dataclass becomes one option per field. The help comes from the docstrings.
    """
    group = parser.add_subcommands(required=True, title="commands", metavar="COMMAND")
    parsers = {}
    for name, command in commands.items():
        if callable(command):
            parsers[name] = from_function(command)
        else:
            parsers[name] = Parser(description=f"Data sets: {', '.join(command)}.")
        group.add_subcommand(name, parsers[name], help=(parsers[name].description or "").split("\n")[0])
        parsers[name].prog = f"{parser.prog} {name}"
        if not callable(command):
            add_commands(parsers[name], command)
    return parsers


def from_function(function: Command) -> Parser:
    """The parser of one command."""
    text = docstring_parser.parse(function.__doc__ or "")
    parser = Parser(description="\n\n".join(filter(None, [text.short_description, text.long_description])))
    for parameter, hint, about in _options(function):
        _add(parser, parameter, hint, about)
    return parser


def _options(function: Callable[..., Any]) -> Iterator[tuple[Parameter, Any, str]]:
    """The parameters of a function with their types and help; for a dataclass, those of its fields."""
    text = docstring_parser.parse(function.__doc__ or "")
    about = {entry.arg_name: entry.description or "" for entry in text.params}
    hints = get_type_hints(function)
    for name, parameter in signature(function).parameters.items():
        if is_dataclass(hints[name]):
            yield from _options(hints[name])
        elif parameter.kind is not Parameter.VAR_KEYWORD:
            yield parameter, hints[name], about[name]


def arguments(function: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a function from parsed options: a dataclass takes those of its fields.

    >>> from fewshot.cli.options import EpisodeOptions
    >>> def show(*, options: EpisodeOptions, json: str | None = None) -> None: ...
    >>> flat = {**vars(EpisodeOptions()), "way": 20, "json": None}
    >>> arguments(show, flat)["options"].way, sorted(arguments(show, flat))
    (20, ['json', 'options'])
    """
    found = dict(options)
    for name, hint in get_type_hints(function).items():
        if isinstance(hint, type) and is_dataclass(hint):
            found[name] = hint(**{field.name: found.pop(field.name) for field in fields(hint)})
    return found


def _add(parser: Parser, parameter: Parameter, hint: Any, about: str) -> None:
    required = parameter.default is Parameter.empty
    if parameter.kind is not Parameter.KEYWORD_ONLY:
        parser.add_argument(parameter.name, type=hint, help=about)
        return
    option = "--" + parameter.name.replace("_", "-")
    if hint is bool:
        parser.add_argument(option, dest=parameter.name, action="store_true", help=about)
        return
    options: dict[str, Any] = {"type": hint, "required": True} if required else {"type": hint}
    for kind in (hint, *get_args(hint)):  # X, or X | None
        options["type"] = READERS.get(kind, options["type"])
    if get_origin(hint) is list:
        options |= {"type": get_args(hint)[0], "nargs": "+", "action": "extend"}
    if not required:
        options["default"] = parameter.default
    parser.add_argument(option, dest=parameter.name, help=about, **options)


def add_overrides(parser: Parser, config: type, taken: set[str]) -> None:
    """Give a parser ``--section.key VALUE`` for every key of a config's dataclass, except those it has.

    The values are not checked here but when the config is read, which knows all keys and ranges.
    """
    hidden: dict[str, Any] = {"default": argparse.SUPPRESS, "help": argparse.SUPPRESS}
    parser.add_argument("--left-out", dest=LEFT_OUT, type=str, nargs=1, action="extend", **hidden)
    about = ", ".join(f"--{stage} null" for stage in config_stages(config))
    group = parser.add_argument_group(f"keys of the config (a list as [5,20]; {about} leave a stage out)")
    for key, kind in config_keys(config):
        if key not in taken:
            hint: Any = {"str": str, "str | None": text_of_config}.get(kind, of_config)
            group.add_argument(
                f"--{key}", type=hint, metavar=_words(kind), default=argparse.SUPPRESS, help=" "
            )


def _words(kind: str) -> str:
    """A type as the help shows it.

    >>> _words("tuple[int, ...] | None"), _words("bool | Literal['auto']")
    ('INT,...', 'true|false|auto')
    """
    kind = kind.removesuffix(" | None")
    if kind.startswith("bool | "):
        return f"true|false|{_words(kind.removeprefix('bool | '))}"
    if kind.startswith("Literal"):
        return kind.removeprefix("Literal[").removesuffix("]").replace("'", "").replace(", ", "|")
    return kind.replace("tuple[", "").replace(", ...]", ",...").upper()


def with_stages_left_out(words: Sequence[str], config: Any) -> list[str]:
    """The command line with ``--meta null`` as the one option that the parser knows for it.

    jsonargparse would take ``--meta.steps`` for a part of an option ``--meta``.

    >>> from fewshot.training.config import Config
    >>> with_stages_left_out(["train", "--meta", "null", "--graph.steps", "5", "--pretrain=null"], Config)
    ['train', '--left-out', 'meta', '--graph.steps', '5', '--left-out', 'pretrain']
    """
    found = list(words)
    for stage in config_stages(config):
        for given in ([f"--{stage}", "null"], [f"--{stage}=null"]):
            for start in reversed(range(len(found))):
                if found[start : start + len(given)] == given:
                    found[start : start + len(given)] = ["--left-out", stage]
    return found


def config_stages(config: Any) -> Iterator[str]:
    """The sections of a config's dataclass that may be left out.

    >>> from fewshot.training.config import Config
    >>> list(config_stages(Config))
    ['pretrain', 'meta', 'graph']
    """
    hints = get_type_hints(config)
    for field in fields(config):
        kinds = get_args(hints[field.name])
        if type(None) in kinds and any(is_dataclass(kind) for kind in kinds):
            yield field.name


def config_keys(config: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """All keys of a config's dataclass, dotted, each with its type in words."""
    hints = get_type_hints(config)
    for field in fields(config):
        kinds = [kind for kind in get_args(hints[field.name]) or [hints[field.name]] if is_dataclass(kind)]
        if kinds:
            yield from config_keys(kinds[0], f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, str(field.type)
