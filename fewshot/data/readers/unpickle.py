"""Pickles of data sets: of strangers, so that nothing in them is run."""

from __future__ import annotations

from typing import Any

from fewshot.core.errors import InputError
from fewshot.core.untrusted import pickles
from fewshot.data.readers.archives import HTML, is_html


def unpickle(content: bytes, where: str) -> Any:
    """Read a pickle of numpy arrays, lists, dicts, numbers and text, see `fewshot.core.untrusted.pickles`.

    Args:
        content: the pickle.
        where: its name, for messages.

    Raises:
        InputError: the pickle asks for anything else; it is incomplete; or a web page came in its place.
    """
    if is_html(content):
        raise InputError(f"{where}: {HTML}")
    return pickles.unpickle(content, where)
