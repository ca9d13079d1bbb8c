"""The one error for bad input."""


class InputError(ValueError):
    """Bad input from the user: one line that names the argument, what was expected and what was given.

    The command line prints it without a traceback and ends with exit status 2.

    >>> raise InputError("way: expected at most 20 (the classes of the test split), got 50")
    Traceback (most recent call last):
    ...
    fewshot.InputError: way: expected at most 20 (the classes of the test split), got 50
    """


InputError.__module__ = "fewshot"  # where users meet it, and what tracebacks and pickles name
