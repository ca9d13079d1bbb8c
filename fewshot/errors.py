"""The one error for bad input."""


class InputError(ValueError):
    """Bad input from the user: one line that names the argument, what was expected and what came.

    The command line prints it without a traceback and ends with exit status 2.

    >>> raise InputError("way: expected at most 20 (the classes of the test split), got 50")
    Traceback (most recent call last):
    ...
    fewshot.errors.InputError: way: expected at most 20 (the classes of the test split), got 50
    """
