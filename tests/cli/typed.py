"""Commands as they are typed, in this process."""

import re

from fewshot.cli.entry import main

LETTERS = "ABCDEFGHIKLMNOPRST"  # of the fixture `letters`
SMALL = ["--way", 3, "--query", 5, "--episodes", 20]


def run(*arguments):
    """The exit status of a command."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return end.code


def fails(capsys, *arguments, after=None, printed=None):
    """The one line on standard error with which a command ends, exit status 2.

    Args:
        after: a pattern that is found in each line that comes before; None: none does.
        printed: a text that is printed on standard output; None: nothing is.
    """
    capsys.readouterr()  # of what was before
    assert run(*arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == "" if printed is None else printed in shown.out
    *others, line, end = shown.err.split("\n")
    assert end == ""
    assert all(after and re.search(after, other) for other in others), shown.err
    assert "Traceback" not in shown.err
    return line
