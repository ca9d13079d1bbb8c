"""Docstrings as Markdown: formulas and doctests in the forms that the site shows."""

import re
import textwrap
from typing import Any

from griffe import Docstring, Extension, Object


class Markdown(Extension):
    """Turn each docstring's ``.. math::``, ``:math:`` and ``>>>`` into Markdown's."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if isinstance(obj.docstring, Docstring):
            obj.docstring.value = markdown(obj.docstring.value)


def markdown(text: str) -> str:
    """A docstring as Markdown.

    >>> markdown("A line of :math:`x`.\\n\\n>>> 1 + 1\\n2").splitlines()
    ['A line of \\\\(x\\\\).', '', '```pycon', '>>> 1 + 1', '2', '```']
    """
    text = re.sub(r":math:`([^`]+)`", r"\\(\1\\)", text)
    text = re.sub(r"(?m)^ *::\n\n", "", text)
    text = re.sub(r"(?m)^(?:Example|Examples):\n", "", text)
    text = re.sub(r"(?m)^Shapes:\n", "Shapes:\n\n", text)
    text = re.sub(r"(?m)^( +)(\w+(?:, \w+)+): ", _apart, text)
    blocks = re.split(r"\n[ \t]*\n", text)
    return "\n\n".join(_block(block) for block in blocks)


def _apart(several: re.Match[str]) -> str:
    """Arguments that a docstring describes together, as the site needs them: one by one."""
    *others, last = several[2].split(", ")
    return "".join(f"{several[1]}{name}: see `{last}`.\n" for name in others) + f"{several[1]}{last}: "


def _block(block: str) -> str:
    body = textwrap.dedent(block)
    if body.startswith(">>>"):
        return f"```pycon\n{body}\n```"
    formula = re.match(r"\.\. math::\s*(.*)", body, re.DOTALL)
    if formula:
        lines = "\n".join(line.strip() for line in formula[1].splitlines())
        return f"$$\n{lines}\n$$"
    return block
