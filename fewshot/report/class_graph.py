"""The class graph of an episode as a picture (PNG), a page (HTML) or data (GraphML, JSON)."""

from collections.abc import Callable
from pathlib import Path

from fewshot.core.errors import InputError
from fewshot.core.files import replacing
from fewshot.report.class_graph_data import to_networkx, write_graphml, write_json
from fewshot.report.class_graph_html import write_html
from fewshot.report.class_graph_png import write_png
from fewshot.report.class_graph_svg import to_figure, to_svg
from fewshot.report.picture import ACCENT, INK, SOFT, KnownEdges, Picture, caption

__all__ = [
    "ACCENT",
    "INK",
    "SOFT",
    "KnownEdges",
    "Picture",
    "caption",
    "check_extension",
    "save",
    "to_figure",
    "to_networkx",
    "to_svg",
]

WRITERS: dict[str, Callable[[Path, Picture], None]] = {
    ".png": write_png,
    ".html": write_html,
    ".graphml": write_graphml,
    ".json": write_json,
}


def save(path: str | Path, picture: Picture) -> Path:
    """Write a class graph atomically, in the format of the file's extension.

    Raises:
        InputError: another extension than .png, .html, .graphml or .json.
    """
    path = Path(path)
    check_extension(path)
    write = WRITERS[path.suffix.lower()]
    with replacing(path) as temporary:
        write(temporary, picture)
    return path


def check_extension(path: Path) -> None:
    """Raise an InputError for a file that `save` cannot write."""
    if path.suffix.lower() not in WRITERS:
        raise InputError(f"out: expected a file that ends in {', '.join(WRITERS)}, got {path.name!r}")
