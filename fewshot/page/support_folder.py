"""A support folder that can be changed: classes and pictures added and taken out, each step undoable."""

from __future__ import annotations

import os
import re
import shutil
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from threading import RLock

from fewshot.core.errors import InputError
from fewshot.core.files import expanded
from fewshot.data.readers.source import EXTENSIONS
from fewshot.page.features import State, state

TRASH = ".fewshot-trash"  # in the support folder; hidden, so that no class
LONGEST, BYTES = 80, 200  # characters and bytes of a name


class SupportFolder:
    """The classes of a support folder, as folders and files that several pages may change at once.

    Nothing is deleted: what is taken out is moved into a hidden folder, from where `undo` brings it back.

    Args:
        folder: with one folder per class; made if it is missing.

    >>> import tempfile
    >>> folder = SupportFolder(tempfile.mkdtemp())
    >>> folder.add_class("../crow")
    'crow'
    >>> folder.undo(), folder.undo()
    ("new class 'crow'", None)
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = expanded(folder).absolute()
        self._lock = RLock()
        self._steps: list[tuple[str, Callable[[], object], int]] = []
        self._right: set[State] = set()  # pictures whose label was said to be right
        self.changes = 0  # how often the folder was changed here
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"support: {self.folder} cannot be made ({error.strerror})") from error

    def classes(self) -> list[str]:
        """The names of the classes, sorted."""
        with self._lock:
            homes = self.folder.iterdir() if self.folder.is_dir() else iter(())
            return sorted(home.name for home in homes if home.is_dir() and not home.name.startswith("."))

    def add_class(self, name: str) -> str:
        """Make a class without pictures; returns its folder's name.

        Raises:
            InputError: nothing is left of the name, or there is such a class.
        """
        safe = safe_name(name)
        with self._lock:
            home = self.folder / safe
            if home.exists():
                raise InputError(f"class: {safe!r} is there already")
            self._write(home.mkdir)
            self._did(f"new class {safe!r}", lambda: self._to_trash(home))
        return safe

    def add_picture(self, name: str, file: str | Path) -> Path:
        """Copy a picture into a class; returns its new place.

        Raises:
            InputError: no such class, or a link to elsewhere; no such file, or no picture by its name.
        """
        file = Path(file)
        if file.suffix.lower() not in EXTENSIONS:
            raise InputError(f"picture: expected {', '.join(sorted(EXTENSIONS))}, got {file.name!r:.80}")
        with self._lock:
            target = _free(self._home(name, file.name) / f"{safe_name(file.stem)}{file.suffix.lower()}")
            self._write(lambda: shutil.copyfile(file, target))
            self._did(f"picture to {name!r}", lambda: self._to_trash(target))
        return target

    def take_out(self, picture: str | Path) -> None:
        """Move a picture of a class into the trash.

        Raises:
            InputError: not a file of a class here.
        """
        with self._lock:
            file = self._picture(picture)
            kept = self._to_trash(file)
            self._did(f"{file.name!r} taken out", lambda: self._write(lambda: shutil.move(kept, _free(file))))

    def move(self, picture: str | Path, name: str) -> Path:
        """Move a picture of a class into another class; returns its new place.

        Raises:
            InputError: no such class, or not a file of a class here.
        """
        with self._lock:
            file = self._picture(picture)
            target = _free(self._home(name, file.name) / file.name)
            self._write(lambda: shutil.move(file, target))
            self._did(
                f"{file.name!r} moved to {name!r}",
                lambda: self._write(lambda: shutil.move(target, _free(file))),
            )
        return target

    def confirm(self, picture: str | Path) -> None:
        """Remember that a picture's label is right, as long as it stays where it is.

        Raises:
            InputError: not a file of a class here.
        """
        with self._lock:
            file = self._picture(picture)
            known = state(file)
            self._right.add(known)
            self._did(f"{file.name!r} is right", lambda: self._right.discard(known), changes=0)

    def doubtful(self, picture: Path) -> bool:
        """Whether a picture is there, and its label was not confirmed."""
        with self._lock:
            return picture.is_file() and state(picture) not in self._right

    def undo(self) -> str | None:
        """Undo the last step; returns what it was, None if there is none."""
        with self._lock:
            if not self._steps:
                return None
            what, back, changes = self._steps.pop()
            back()
            self.changes += changes
            return what

    def _holds(self, file: Path) -> bool:
        """Whether a path is that of a file of a class here, and of none that a link leads to."""
        path, root = file.absolute(), Path(os.path.realpath(self.folder))
        if ".." in file.parts or not path.is_relative_to(self.folder):
            return False
        parts, home = path.relative_to(self.folder).parts, Path(os.path.realpath(path.parent))
        visible = len(parts) > 1 and not any(part.startswith(".") for part in parts)
        return visible and home != root and home.is_relative_to(root)

    def _class(self, name: str) -> Path:
        if name not in self.classes():
            raise InputError(f"class: expected one of {', '.join(self.classes())}, got {name!r:.80}")
        return self.folder / name

    def _picture(self, picture: str | Path) -> Path:
        file = Path(picture)
        if not self._holds(file) or not file.is_file():
            raise InputError(f"picture: expected one of a class here, got {str(picture)!r:.120}")
        return file

    def _home(self, name: str, file: str) -> Path:
        """The folder of a class that a picture may go to."""
        home = self._class(name)
        if not self._holds(home / file):
            raise InputError(f"class: expected a folder of its own, got the link {name!r:.80}")
        return home

    def _to_trash(self, path: Path) -> Path:
        target = _free(self.folder / TRASH / f"{time.time_ns()}-{_cut(path.stem)}{path.suffix[:10]}")

        def move() -> None:
            if target.parent.is_symlink():
                raise InputError(f"support: expected {TRASH} to be a folder, got a link")
            target.parent.mkdir(exist_ok=True)
            shutil.move(path, target)

        self._write(move)
        return target

    def _did(self, what: str, back: Callable[[], object], changes: int = 1) -> None:
        self.changes += changes
        self._steps.append((what, back, changes))

    def _write(self, change: Callable[[], object]) -> None:
        try:
            change()
        except OSError as error:
            raise InputError(f"support: {self.folder} cannot be changed ({error.strerror})") from error


def safe_name(name: str) -> str:
    """A name for a folder or file from whatever was typed: one part of a path, visible, not too long.

    Raises:
        InputError: nothing is left.

    >>> safe_name("../../x"), safe_name(" .red apple "), safe_name("<img onerror=1>")
    ('x', 'red apple', '<img onerror=1>')
    """
    text = unicodedata.normalize("NFC", name)
    text = "".join(" " if unicodedata.category(letter)[0] in "CZ" else letter for letter in text)
    text = re.sub(r'[/\\:*?"|]+', " ", text)
    text = re.sub(r"(^|\s)\.+(?=\s|$)", " ", text).strip(" .")
    text = _cut(re.sub(r"\s+", " ", text)[:LONGEST]).strip(" .")
    if not text:
        raise InputError(f"name: expected letters or digits, got {name!r:.80}")
    return text


def _cut(name: str) -> str:
    """The beginning of a name, so short that something can be put before and after it."""
    return os.fsencode(name)[:BYTES].decode(errors="ignore")


def _free(path: Path) -> Path:
    """The path, or one like it where nothing is yet, not even a link to nowhere."""
    number = 1
    free = path
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free
