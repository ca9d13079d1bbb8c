"""Folders, .tar and .zip files behind one interface: the files in them, and their bytes in one pass."""

from __future__ import annotations

import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol, runtime_checkable

from fewshot.core.errors import InputError
from fewshot.core.files import expanded
from fewshot.core.untrusted.guard import cause
from fewshot.core.untrusted.plain import LARGEST_IMAGE, check_growth, check_plain, open_plain, read_plain

# What tarfile and the decompressors raise for an incomplete file, or for links to what is not there.
BROKEN_TAR = (
    *(tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError),
    *(KeyError, ValueError, OverflowError, RecursionError, MemoryError),
)
PICKLES = (".pkl", ".pickle", "")  # may be as large as they are; anything else is an image or a table
BEHIND_LINKS = 10_000  # folders, at most
HTML = (
    "a web page (HTML), not the file itself; download it again, with a browser if the site asks for a login"
)


@dataclass(frozen=True)
class Listing:
    """The content of an archive: relative POSIX paths of its files and folders, without hidden ones."""

    files: tuple[str, ...]
    folders: frozenset[str]


@runtime_checkable
class Archive(Protocol):
    """A folder, a .tar or a .zip."""

    path: Path

    def listing(self) -> Listing:
        """The files and the folders in it."""

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """These files and their bytes, in the archive's own order, in one pass."""

    def stamp(self) -> str:
        """Text that changes when the content does: sizes and modification times; no file is read."""


def open_archive(path: str | Path) -> Archive:
    """Open the archive at a path.

    Raises:
        InputError: the path does not exist, or is neither a folder, a .tar (plain or compressed) nor a .zip.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "a.txt").write_bytes(b"hello")
        5
        >>> archive = open_archive(folder)
        >>> archive.listing().files, dict(archive.read(["a.txt"]))
        (('a.txt',), {'a.txt': b'hello'})
    """
    path = expanded(path).absolute()
    if path.is_dir():
        return FolderArchive(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if _starts_as_html(path):
        raise InputError(f"{path}: {HTML}")
    if zipfile.is_zipfile(path):
        return ZipArchive(path)
    if _is_tar(path):
        return TarArchive(path)
    raise InputError(f"{path}: expected a folder, a .tar or a .zip (is it truncated, or of another format?)")


class FolderArchive:
    """The files of a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def listing(self) -> Listing:
        files, folders, linked = [], [], 0
        # The folders through which each is reached: following a link to one of them would never end.
        trails = {str(self.path): frozenset[str]()}
        for root, subfolders, names in os.walk(self.path, followlinks=True):
            inner, real = Path(root).relative_to(self.path), os.path.realpath(root)
            folders.append(inner.as_posix())
            files += [(inner / name).as_posix() for name in names]
            trail = trails.pop(root) | {real}
            targets = {name: _target(root, real, name) for name in subfolders}
            subfolders[:] = [
                name for name, target in targets.items() if not (target in trail or _is_above(target, real))
            ]
            trails |= {os.path.join(root, name): trail for name in subfolders}
            linked += not real.endswith(root.removeprefix(str(self.path)))
            if linked > BEHIND_LINKS:
                raise InputError(f"{self.path}: expected at most {BEHIND_LINKS:,} folders behind links")
        return _listing(files, folders)

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        for name in sorted(names):
            yield name, read_plain(self.path / name, _most(name))

    def stamp(self) -> str:
        content = self.listing()
        return "\n".join([*sorted(content.folders), *(f"{n} {_stat(self.path / n)}" for n in content.files)])


class TarArchive:
    """Members of a .tar file, plain or compressed; read as a stream, so that compression costs one pass."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _members(self) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
        size = self.path.stat().st_size
        try:
            with tarfile.open(self.path, "r:*") as tar:
                for member in tar:
                    check_growth(str(self.path), member.offset_data, 5 * size)
                    yield tar, member
                if not _ended(tar):
                    raise tarfile.ReadError("its end is missing")
        except InputError:
            raise
        except BROKEN_TAR as error:
            raise InputError(f"{self.path}: not a complete .tar file ({error})") from None

    def listing(self) -> Listing:
        files, folders = [], []
        for _, member in self._members():
            if member.isdir():
                folders.append(member.name)
            elif _has_content(member):
                files.append(member.name)
        return _listing(files, folders)

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        wanted = set(names)
        for tar, member in self._members():
            name = _clean(member.name)
            if name in wanted and _has_content(member):
                try:
                    yield name, self._content(tar, member)
                except InputError:
                    raise
                except BROKEN_TAR as error:
                    raise InputError(f"{self.path}: {name} cannot be read ({cause(error)})") from None

    def _content(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
        where = f"{self.path}: {member.name}"
        file = tar.extractfile(member)
        if file is None:
            return b""
        _check_size(where, file.seek(0, os.SEEK_END), self.path.stat().st_size)
        file.seek(0)
        return file.read()

    def stamp(self) -> str:
        return _stat(self.path)


class ZipArchive:
    """Members of a .zip file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def listing(self) -> Listing:
        try:
            with zipfile.ZipFile(self.path) as file:
                names = file.namelist()
                total = sum(member.file_size for member in file.infolist())
        except Exception as error:  # zipfile raises almost anything on damaged files
            raise InputError(f"{self.path}: not a complete .zip file ({cause(error)})") from None
        check_growth(str(self.path), total, 5 * self.path.stat().st_size)
        return _listing([n for n in names if not n.endswith("/")], [n for n in names if n.endswith("/")])

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        wanted = set(names)
        with zipfile.ZipFile(self.path) as file:
            for member in file.infolist():
                if (name := _clean(member.filename)) in wanted:
                    _check_size(f"{self.path}: {name}", member.file_size, member.compress_size)
                    try:
                        content = file.read(member)
                    except Exception as error:  # so do its decompressors
                        raise InputError(f"{self.path}: {name} cannot be read ({cause(error)})") from None
                    yield name, content

    def stamp(self) -> str:
        return _stat(self.path)


def base_of(files: Collection[str], name: str) -> str | None:
    """The folder of a file of that name, at the top or one level below, with its slash; or None.

    Example:
        >>> base_of(["cifar/meta", "cifar/train"], "meta")
        'cifar/'
    """
    below = sorted(file for file in files if file.count("/") == 1 and file.endswith("/" + name))
    return "" if name in files else below[0].removesuffix(name) if below else None


def is_html(content: bytes) -> bool:
    """Whether a file's first bytes are those of a web page, which sites send in place of a download.

    Example:
        >>> is_html(b"<!DOCTYPE html><title>Quota exceeded</title>")
        True
        >>> is_html(b'<?xml version="1.0"?><!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN">')
        True
        >>> is_html(b"<?xml version='1.0'?><svg/>")
        False
    """
    start = content[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    before = start.startswith((b"<!--", b"<?xml"))  # what may come before it
    pages = (b"<!doctype html", b"<html")
    return start.startswith(pages) or (before and any(page in start for page in pages))


def _ended(tar: tarfile.TarFile) -> bool:
    """Whether a block of zeros ends it; tarfile accepts a file that was cut between two members."""
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    return tar.fileobj.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)


def _is_tar(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path)
    except BROKEN_TAR:  # a truncated compressed file
        return False


def _starts_as_html(path: Path) -> bool:
    with open_plain(path) as file:
        return is_html(file.read(512))


def _has_content(member: tarfile.TarInfo) -> bool:
    return member.isfile() or member.islnk()


def _stat(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    check_plain(path, stat)
    return f"{stat.st_size} {stat.st_mtime_ns}"


def _target(root: str, real: str, name: str) -> str:
    """Where a subfolder really is."""
    place = os.path.join(root, name)
    return os.path.realpath(place) if os.path.islink(place) else os.path.join(real, name)


def _is_above(folder: str, real: str) -> bool:
    return folder == os.sep or real.startswith(folder + os.sep)


def _most(name: str) -> int:
    """The largest size of a file of that name."""
    return 2**50 if PurePosixPath(name).suffix.lower() in PICKLES else LARGEST_IMAGE


def _check_size(where: str, size: int, compressed: int) -> None:
    check_growth(where, size, compressed)
    if size > _most(where):
        raise InputError(f"{where}: expected at most {LARGEST_IMAGE >> 20} MiB, got {size >> 20} MiB")


def _clean(name: str) -> str:
    return PurePosixPath(name).as_posix().lstrip("/")


def _listing(files: list[str], folders: list[str]) -> Listing:
    """Without hidden names and those that macOS adds; with folders that only occur in the files' paths."""

    def shown(path: PurePosixPath) -> bool:
        return not any(part.startswith(".") or part == "__MACOSX" for part in path.parts)

    kept = sorted({_clean(name) for name in files if shown(PurePosixPath(name))})
    inside = {_clean(name) for name in folders if shown(PurePosixPath(name))}
    inside |= {parent.as_posix() for name in kept for parent in PurePosixPath(name).parents}
    return Listing(tuple(kept), frozenset(inside - {"."}))
