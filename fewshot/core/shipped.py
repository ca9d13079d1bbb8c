"""The YAML files that come with the package: benchmarks (``datasets``) and results (``configs``)."""

from pathlib import Path
from typing import Literal

from fewshot.core.errors import InputError
from fewshot.core.files import expanded

PACKAGE = Path(__file__).resolve().parents[1]


def find(folder: Literal["configs", "datasets"], name_or_path: str | Path) -> Path:
    """Find a YAML file by its path, or by its name among those that come with the package.

    Args:
        folder: where names are looked up.
        name_or_path: a file's path, or a name without its ``.yaml``.

    Raises:
        InputError: there is no such file; the error lists the names that exist.

    Example:
        >>> find("datasets", "miniimagenet").name
        'miniimagenet.yaml'
    """
    path = expanded(name_or_path)
    if path.is_file():
        return path
    for home in _homes(folder):
        candidate = home / f"{str(name_or_path).removesuffix('.yaml')}.yaml"
        if candidate.is_file():
            return candidate
    raise InputError(
        f"{folder}: expected a file or one of {', '.join(names(folder)) or 'none'}, got '{name_or_path}'"
    )


def names(folder: Literal["configs", "datasets"]) -> list[str]:
    """The names of the YAML files that come with the package, sorted.

    Example:
        >>> "miniimagenet" in names("datasets")
        True
    """
    return sorted({file.stem for home in _homes(folder) for file in home.glob("*.yaml")})


def _homes(folder: str) -> list[Path]:
    """The folders that exist: inside an installed package, or at the top of a checkout."""
    return [home for home in (PACKAGE / folder, PACKAGE.parent / folder) if home.is_dir()]
