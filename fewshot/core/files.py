"""Files that are written whole or not at all, whoever reads them or kills the process."""

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fewshot.core.errors import InputError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; at the end, if there was no error, it replaces ``path``.

    Missing folders are created. After an error, or if the process is killed, ``path`` is what it was before.

    Raises:
        InputError: nothing can be written there.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "scores.txt"
    >>> with replacing(target) as temporary:
    ...     _ = temporary.write_text("62.0")
    >>> target.read_text()
    '62.0'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The process id keeps two writers of one file apart; the suffix stays, since some writers depend on it.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.filename is None or Path(error.filename) != temporary:
            raise
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        temporary.unlink(missing_ok=True)


def cache_folder(cache: str | Path | None = None) -> Path:
    """The folder given, else the environment's ``FEWSHOT_CACHE``, else the user's cache folder."""
    import platformdirs

    chosen = cache or os.environ.get("FEWSHOT_CACHE") or platformdirs.user_cache_path("fewshot")
    return Path(chosen).expanduser().absolute()


def write_json(path: Path | None, content: Any) -> None:
    """Write a JSON file atomically; without a path, do nothing."""
    if path is not None:
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read what `write_json` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_csv(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows as CSV, atomically."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)


def tell(text: str) -> None:
    """Print a line of progress on standard error."""
    print(text, file=sys.stderr, flush=True)
