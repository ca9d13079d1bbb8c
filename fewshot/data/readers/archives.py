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

# What tarfile and the decompressors raise for an incomplete file.
BROKEN_TAR = (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError)
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
    path = Path(path).expanduser().absolute()
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
        files, folders = [], []
        for root, subfolders, names in os.walk(self.path, followlinks=True):
            inner, real = Path(root).relative_to(self.path), Path(root).resolve()
            folders.append(inner.as_posix())
            files += [(inner / name).as_posix() for name in names]
            above = {real, *real.parents}  # following a link to one of these would never end
            subfolders[:] = [name for name in subfolders if Path(root, name).resolve() not in above]
        return _listing(files, folders)

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        for name in sorted(names):
            try:
                yield name, (self.path / name).read_bytes()
            except OSError as error:
                raise InputError(f"{self.path / name}: cannot be read ({error.strerror})") from None

    def stamp(self) -> str:
        content = self.listing()
        return "\n".join([*sorted(content.folders), *(f"{n} {_stat(self.path / n)}" for n in content.files)])


class TarArchive:
    """Members of a .tar file, plain or compressed; read as a stream, so that compression costs one pass."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _members(self) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
        try:
            with tarfile.open(self.path, "r:*") as tar:
                for member in tar:
                    yield tar, member
                if not _ended(tar):
                    raise tarfile.ReadError("its end is missing")
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
            if name in wanted and _has_content(member) and (file := tar.extractfile(member)):
                yield name, file.read()

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
        except zipfile.BadZipFile as error:
            raise InputError(f"{self.path}: not a complete .zip file ({error})") from None
        return _listing([n for n in names if not n.endswith("/")], [n for n in names if n.endswith("/")])

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        wanted = set(names)
        with zipfile.ZipFile(self.path) as file:
            for member in file.infolist():
                if (name := _clean(member.filename)) in wanted:
                    try:
                        yield name, file.read(member)
                    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError) as error:
                        raise InputError(f"{self.path}: {name} cannot be read ({error})") from None

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
    try:
        with path.open("rb") as file:
            return is_html(file.read(512))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def _has_content(member: tarfile.TarInfo) -> bool:
    return member.isfile() or member.islnk()


def _stat(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    return f"{stat.st_size} {stat.st_mtime_ns}"


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
