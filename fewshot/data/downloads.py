"""Downloads of the data sets that torchvision has, verified before they are used."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout, suppress
from http.client import HTTPException
from pathlib import Path

from fewshot.core.errors import InputError
from fewshot.core.files import expanded, replacing
from fewshot.core.shipped import find, names
from fewshot.core.untrusted.plain import open_plain
from fewshot.data.readers.archives import HTML, is_html
from fewshot.data.readers.benchmark import read_benchmark

CIFAR = ("cifar-fs", "fc100")
OMNIGLOT = ("omniglot", "omniglot-upright", "omniglot-lake")


def download(kind: str, to: str | Path) -> str:
    """Download a benchmark's files into a folder, from the addresses that torchvision has.

    A complete file that exists is kept. Any other is downloaded again and replaced once the checksum of the
    download is the published one; an error leaves nothing else behind.

    Args:
        kind: ``cifar-fs``, ``fc100``, ``omniglot``, ``omniglot-upright`` or ``omniglot-lake``.
        to: the folder; created if there is none.

    Returns:
        The SPEC that loads the benchmark.

    Raises:
        InputError: another kind, no answer from the site, or an answer that is not the file: a web page, or
            bytes with another checksum.
    """
    urls = _urls(kind)
    to = expanded(to).absolute()
    checksums = read_benchmark(kind).checksums
    for url in urls:
        file = to / url.rpartition("/")[2]
        _fetch(url, file, checksums[file.name].removeprefix("md5:"))
    return f"{kind}:{to}"


def _urls(kind: str) -> list[str]:
    from torchvision.datasets import CIFAR100, Omniglot

    if kind in CIFAR:
        return [CIFAR100.url]
    if kind in OMNIGLOT:
        return [f"{Omniglot.download_url_prefix}/{part}.zip" for part in Omniglot.zips_md5]
    where = f"; {find('datasets', kind)} says where to get {kind}" if kind in names("datasets") else ""
    raise InputError(f"kind: expected one of {', '.join(CIFAR + OMNIGLOT)}, got '{kind}'{where}")


def _fetch(url: str, file: Path, md5: str) -> None:
    from torchvision.datasets.utils import check_integrity, download_url

    if check_integrity(file, md5):
        return
    if file.exists():
        print(f"{file}: incomplete, or another file; downloading it again", file=sys.stderr)
    fresh = not file.parent.exists()
    try:
        with replacing(file) as temporary:
            try:
                with redirect_stdout(sys.stderr):
                    download_url(url, temporary.parent, temporary.name, md5)
            except (OSError, HTTPException, RuntimeError) as error:
                raise InputError(f"{url}: {_reason(temporary, error)}") from error
    except InputError:
        if fresh:
            with suppress(OSError):  # it is not empty
                file.parent.rmdir()
        raise


def _reason(fetched: Path, error: Exception) -> str:
    """Why a file could not be downloaded; if something came in its place, what that is."""
    if isinstance(error, OSError | HTTPException) or not fetched.exists():
        return f"cannot be downloaded ({error})"
    with open_plain(fetched) as file:
        return HTML if is_html(file.read(512)) else "not the published file, or only part of it (checksum)"
