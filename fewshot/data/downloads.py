"""Downloads of the sets that torchvision has, verified before they are used."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from http.client import HTTPException
from pathlib import Path

from fewshot.core.errors import InputError
from fewshot.core.files import replacing
from fewshot.core.shipped import find, names
from fewshot.data.readers.archives import HTML, is_html
from fewshot.data.readers.benchmark import read_benchmark

CIFAR = ("cifar-fs", "fc100")
OMNIGLOT = ("omniglot", "omniglot-upright", "omniglot-lake")


def download(kind: str, to: str | Path) -> str:
    """Fetch a benchmark's files from where torchvision has them, into a folder.

    A file that is there already and whole is kept. One that is not whole is fetched anew, and takes its place
    once its checksum is the published one; whatever goes wrong, nothing else is left behind.

    Args:
        kind: ``cifar-fs``, ``fc100``, ``omniglot``, ``omniglot-upright`` or ``omniglot-lake``.
        to: the folder; made where there is none.

    Returns:
        The SPEC to load the benchmark by.

    Raises:
        InputError: another kind, no answer from the site, or another answer than the file: a web page, or
            bytes of another checksum.
    """
    urls = _urls(kind)
    to = Path(to).expanduser().absolute()
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
    where = f"; {find('datasets', kind)} says where {kind} is to be had" if kind in names("datasets") else ""
    raise InputError(f"kind: expected one of {', '.join(CIFAR + OMNIGLOT)}, got '{kind}'{where}")


def _fetch(url: str, file: Path, md5: str) -> None:
    from torchvision.datasets.utils import check_integrity, download_url

    if check_integrity(file, md5):
        return
    if file.exists():
        print(f"{file}: not whole, or another file; fetched anew", file=sys.stderr)
    with replacing(file) as temporary:
        try:
            with redirect_stdout(sys.stderr):
                download_url(url, temporary.parent, temporary.name, md5)
        except (OSError, HTTPException, RuntimeError) as error:
            raise InputError(f"{url}: {_reason(temporary, error)}") from error


def _reason(fetched: Path, error: Exception) -> str:
    """Why a file could not be had: what came in its place, where anything did."""
    if isinstance(error, OSError | HTTPException) or not fetched.exists():
        return f"cannot be fetched ({error})"
    with fetched.open("rb") as file:
        return HTML if is_html(file.read(512)) else "not the published file, or not all of it (checksum)"
