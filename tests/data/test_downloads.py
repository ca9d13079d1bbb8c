"""Downloads from a site on this machine, and what a site may answer in place of a file."""

import hashlib
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from forms import PAGE, as_tar_gz, as_zip
from test_cifar import cifar
from torchvision.datasets import CIFAR100, Omniglot
from typed import fails

from fewshot.cli.entry import main
from fewshot.core.errors import InputError
from fewshot.data.downloads import download
from fewshot.data.loading import load
from fewshot.data.readers.benchmark import read_benchmark


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder that is served as the sites of both data sets."""
    (folder := tmp_path / "site").mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(CIFAR100, "url", f"{address}/cifar-100-python.tar.gz")
    monkeypatch.setattr(Omniglot, "download_url_prefix", address)
    yield folder
    server.shutdown()
    server.server_close()


def published(monkeypatch: pytest.MonkeyPatch, *files: Path) -> None:
    """Make these files' checksums the published ones."""
    sums = {file.name: f"md5:{hashlib.md5(file.read_bytes()).hexdigest()}" for file in files}
    monkeypatch.setattr(
        "fewshot.data.downloads.read_benchmark", lambda kind: replace(read_benchmark(kind), checksums=sums)
    )


def test_what_was_downloaded_is_loaded(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = as_tar_gz(cifar(), site / "cifar-100-python")
    published(monkeypatch, archive)
    to = tmp_path / "to"
    assert main(["data", "download", "fc100", "--to", str(to)]) == 0
    spec = capsys.readouterr().out.strip()
    assert spec == f"fc100:{to}"
    assert load(spec, cache=tmp_path / "cache", progress=False).test.num_classes == 20
    assert [file.name for file in to.iterdir()] == [archive.name]


def test_a_complete_file_is_kept_and_an_incomplete_one_downloaded_again(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [as_zip({"a.png": b"x" * 999}, site / f"images_{name}") for name in ("background", "evaluation")]
    published(monkeypatch, *parts)
    (to := tmp_path / "to").mkdir()
    (to / parts[0].name).write_bytes(parts[0].read_bytes()[:50])
    assert download("omniglot", to) == f"omniglot:{to}"
    assert "images_background.zip: incomplete" in capsys.readouterr().err
    assert {file.name: file.read_bytes() for file in to.iterdir()} == {p.name: p.read_bytes() for p in parts}
    for part in parts:
        part.unlink()  # from the site, to see that it is not requested again
    download("omniglot-lake", to)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (PAGE, "a web page (HTML), not the file itself"),
        (b"half of it", "not the published file, or only part of it (checksum)"),
        (None, "cannot be downloaded (HTTP Error 404"),
    ],
)
def test_another_answer_than_the_file_is_named_and_not_kept(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, message: str
) -> None:
    if content is not None:
        (site / "cifar-100-python.tar.gz").write_bytes(content)
    (to := tmp_path / "to").mkdir()
    (to / "mine.txt").write_text("stays")
    with pytest.raises(InputError) as caught:
        download("cifar-fs", to)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [file.name for file in to.iterdir()] == ["mine.txt"]


def test_other_sets_are_not_downloaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = fails(capsys, "data", "download", "miniimagenet", "--to", tmp_path / "to")
    assert "got 'miniimagenet'; " in line
    assert "datasets/miniimagenet.yaml says where to get miniimagenet" in line
    assert not (tmp_path / "to").exists()
