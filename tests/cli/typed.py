"""Commands as they are typed, in this process."""

from fewshot.cli.entry import main

LETTERS = "ABCDEFGHIKLMNOPRST"  # of the fixture `letters`
SMALL = ["--way", 3, "--query", 5, "--episodes", 20]


def run(*arguments):
    """The exit status of a command."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return end.code
