"""The one place that writes files: whole or not at all, whoever reads them or kills the process."""

import csv
import io
import json
import os
import platform
import shutil
import stat
import sys
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from fewshot.core.errors import InputError
from fewshot.core.escape import cell, printable

MARK = ".fewshot-"  # what the names of unfinished files and folders start with
HOST = f"{zlib.crc32(platform.node().encode()):08x}"  # process ids of other machines say nothing here
OWN = f"{MARK}{HOST}-{os.getpid()}-"  # what the names of this process's unfinished ones start with
OLD = 7 * 24 * 3600  # seconds after which an unfinished file of another machine is left over as well
LIVE = ("/dev/std", "/dev/fd/", "/proc/")  # paths that stand for streams that are open


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; at the end, if there was no error, it replaces ``path``.

    Missing folders are created. After an error, or if the process is killed, ``path`` is what it was before.
    A link is followed, so that it stays and its target is replaced; what is not a plain file (a device, a
    FIFO) is written to.

    Raises:
        InputError: nothing can be written there.

    >>> target = Path(tempfile.mkdtemp()) / "scores.txt"
    >>> with replacing(target) as temporary:
    ...     _ = temporary.write_text("62.0")
    >>> target.read_text()
    '62.0'
    """
    path = Path(path)
    with writing(path):
        if is_stream(path):
            with tempfile.TemporaryDirectory() as folder:
                temporary = Path(folder) / f"content{path.suffix[:10]}"
                yield temporary
                _pour(temporary, path)
            return
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent)
        temporary = unfinished(target)
        try:
            yield temporary
            if target.exists():
                temporary.chmod(stat.S_IMODE(target.stat().st_mode))
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Report what the system says against writing a file as an `InputError` that names the file."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        where = Path(str(error.filename))
        own = where.name.startswith((MARK, path.name)) or _is_unfinished(where)
        if _is_unfinished(path):  # whoever writes the folder that it is in knows the folder's name
            raise
        if error.filename is not None and not own:  # an error of something else that the block does
            raise
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error


def check_writable(path: Path) -> None:
    """Raise an InputError unless a file or folder can be made or replaced there, or the system knows better.

    >>> check_writable(Path("/dev/null/scores.csv"))
    Traceback (most recent call last):
    ...
    fewshot.InputError: /dev/null/scores.csv: cannot be written, because /dev/null is not a writable directory
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:  # links in a circle, a name that is too long
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    target = Path(os.path.realpath(path))
    home = next(folder for folder in target.parents if folder.exists())
    if not home.is_dir() or not os.access(home, os.W_OK):
        raise InputError(f"{path}: cannot be written, because {home} is not a writable directory")


def unfinished(path: Path) -> Path:
    """A name next to a path for what is not yet finished, with the path's suffix, which some writers need.

    It says which process on which machine writes it, so that `sweep` knows what a kill has left.
    """
    number = time.monotonic_ns() % 10**9
    suffix = path.suffix if len(path.suffix) <= 10 else ""
    return path.with_name(f"{MARK}{HOST}-{os.getpid()}-{number}{suffix}")


def _is_unfinished(path: Path) -> bool:
    """Whether a path is, or is in, what this process has not yet finished."""
    return any(part.startswith(OWN) for part in path.parts)


def sweep(folder: Path) -> None:
    """Remove unfinished files and folders whose process is gone, or that another machine began a week ago."""
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if entry.name.startswith(MARK)]
    except OSError:
        return
    for entry in found:
        host, _, rest = entry.name.removeprefix(MARK).partition("-")
        number = rest.partition("-")[0]
        try:
            old = time.time() - entry.stat(follow_symlinks=False).st_mtime > OLD
            if (host == HOST and number.isdigit() and not _runs(int(number))) or old:
                remove(Path(entry.path))
        except OSError:  # another process was faster
            continue


def remove(path: Path) -> None:
    """Remove a file, or a folder with what is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    r"""Write text as UTF-8; what is no letter (in the names of some files) as ``\udcff``."""
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def cache_folder(cache: str | Path | None = None) -> Path:
    """The folder given, else the environment's ``FEWSHOT_CACHE``, else the user's cache folder."""
    import platformdirs

    chosen = cache or os.environ.get("FEWSHOT_CACHE") or platformdirs.user_cache_path("fewshot")
    return expanded(chosen).absolute()


def expanded(path: str | Path) -> Path:
    """A path with the user's home folder in place of a ``~``, as shells have it.

    Raises:
        InputError: ``~NAME`` of a user who is not known.

    >>> expanded("~/x.csv") == Path.home() / "x.csv", expanded("x~")
    (True, PosixPath('x~'))
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InputError(f"expected a path, got the home folder of an unknown user, {path}") from None


def write_json(path: Path | None, content: Any, indent: int | None = 1) -> None:
    """Write a JSON file atomically; without a path, do nothing."""
    if path is not None:
        with replacing(path) as temporary:
            write_text(temporary, json.dumps(content, ensure_ascii=False, indent=indent) + "\n")


def write_csv(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows as CSV, atomically; text that a spreadsheet would take for a formula is quoted."""
    stream = io.StringIO(newline="")
    csv.writer(stream).writerows([cell(value) for value in row] for row in rows)
    write_bytes(path, stream.getvalue().encode("utf-8", "backslashreplace"))


def write_tensors(path: Path, content: Any) -> None:
    """Write plain values and tensors as torch does, atomically."""
    import torch

    # In memory first: if the disk is full, torch's own writer raises errors that do not say so.
    stream = io.BytesIO()
    torch.save(content, stream)
    write_bytes(path, stream.getbuffer())


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write bytes atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_array(path: Path, array: Any) -> None:
    """Write an array as .npy, atomically."""
    import numpy as np

    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array)


def say(text: object) -> None:
    """Print a line on standard output."""
    print(printable(text))


def tell(text: str) -> None:
    """Print a line of progress on standard error, which may be closed or full: no result depends on it."""
    try:
        print(printable(text), file=sys.stderr, flush=True)
    except OSError:
        let_go(sys.stderr)


def let_go(stream: TextIO) -> None:
    """Let what is still to be printed go nowhere, such as after the disk behind it was found to be full."""
    number = os.open(os.devnull, os.O_WRONLY)
    os.dup2(number, stream.fileno())
    os.close(number)


def is_stream(path: Path) -> bool:
    """Whether a path is to be written to as it is: a device, a FIFO, or an open file of this process."""
    try:
        return not stat.S_ISREG(path.stat().st_mode) or str(path.absolute()).startswith(LIVE)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _pour(content: Path, path: Path) -> None:
    """Append a file's bytes to a stream."""
    sys.stdout.flush()  # which may be that stream
    with content.open("rb") as source, path.open("ab", buffering=0) as target:
        shutil.copyfileobj(source, target)


def _runs(process: int) -> bool:
    """Whether there is such a process; True where that cannot be asked."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True
