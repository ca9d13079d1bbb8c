"""Names from strangers, written so that no format takes a part of them for its own marks."""

import re
from typing import Any

# Control characters, which terminals obey; what turns the direction of text; what is no letter of Unicode.
HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#+!|~&])")
FORMULA = re.compile(r"^[=+\-@\t\r]")


def printable(text: Any) -> str:
    r"""Text for a terminal, a picture or XML: control characters and the like as Python writes them.

    >>> print(printable("heron \x1b[2J\n"))
    heron \x1b[2J\n
    """
    return HARMFUL.sub(lambda found: found[0].encode("unicode-escape").decode(), str(text))


def markdown(text: Any) -> str:
    r"""Text for a line or a table of Markdown.

    >>> print(markdown("a|b <script>"))
    a\|b \<script\>
    """
    return MARKDOWN.sub(r"\\\1", printable(text))


def code(text: Any) -> str:
    r"""Text between the marks of Markdown for code, also in a table.

    >>> print(code("04ad7406"), code("a`|b"))
    `04ad7406` `a'\|b`
    """
    return "`" + printable(text).replace("`", "'").replace("|", "\\|") + "`"


def cell(value: Any) -> Any:
    """A value for a table that a spreadsheet may open: text that it would take for a formula is quoted.

    >>> cell("=1+1"), cell("-5"), cell("heron"), cell(0.5)
    ("'=1+1", '-5', 'heron', 0.5)
    """
    if not isinstance(value, str) or not FORMULA.match(value):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value
