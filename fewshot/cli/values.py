"""The values of options from the text that is typed."""

from __future__ import annotations

import math
import re
from argparse import ArgumentTypeError
from typing import Any

from jsonargparse import set_loader

from fewshot.core.errors import InputError
from fewshot.core.numerals import NUMBER
from fewshot.core.untrusted.documents import parse_yaml

MODE = "fewshot"  # of jsonargparse, which by itself reads most values as YAML without limits
WHOLE = re.compile(r"[-+]?[0-9]+")
SIGNED = re.compile(rf"[-+]?{NUMBER.pattern}")

set_loader(MODE, lambda text: text)  # text stays text unless the option's type says otherwise


def whole(text: str | int) -> int:
    """A whole number, in decimal digits.

    >>> whole("20"), whole(20)
    (20, 20)
    >>> whole("1:30")
    Traceback (most recent call last):
    ...
    argparse.ArgumentTypeError: expected int, got 1:30
    """
    try:
        if WHOLE.fullmatch(str(text)):
            return int(text)
    except ValueError:  # of more digits than Python reads
        pass
    raise ArgumentTypeError(f"expected int, got {text}")


def number(text: str | float) -> float:
    """A finite number, in decimal digits.

    >>> number("1e-2"), number(".5")
    (0.01, 0.5)
    """
    if SIGNED.fullmatch(str(text)) and math.isfinite(float(text)):
        return float(text)
    raise ArgumentTypeError(f"expected float, got {text}")


def of_config(text: Any) -> Any:
    """The value of a key of a config, within the limits of files; what is not YAML is text.

    >>> of_config("[5, 20]"), of_config("&a [*a]"), of_config("1e-2")
    ([5, 20], '&a [*a]', '1e-2')
    """
    if not isinstance(text, str):
        return text
    try:
        return parse_yaml(text, "value")
    except InputError:
        return text


def text_of_config(text: str | None) -> str | None:
    """The text of a key of a config that may also be null.

    >>> text_of_config("010"), text_of_config("null")
    ('010', None)
    """
    return None if text == "null" else text
