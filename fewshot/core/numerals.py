"""Numbers as people and programs write them, without what else Python takes for one."""

import re

NUMBER = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def number(text: str) -> float:
    """A number from 0 up in ASCII digits; nan for other text, such as ``-0``, ``1_0`` or other digits.

    >>> number("2"), number("1e-3"), number("-0"), number("1_0"), number("٣")
    (2.0, 0.001, nan, nan, nan)
    """
    return float(text) if NUMBER.fullmatch(text) else float("nan")
