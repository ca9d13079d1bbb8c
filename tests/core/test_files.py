import errno
import json
import os
import stat
from pathlib import Path

import pytest

import fewshot
from fewshot.core.errors import InputError
from fewshot.core.files import (
    HOST,
    MARK,
    cache_folder,
    check_writable,
    replacing,
    unfinished,
    write_csv,
    write_json,
    write_tensors,
    writing,
)


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def write_half():
        with replacing(target) as temporary:
            temporary.write_text("ne")
            raise KeyError

    with pytest.raises(KeyError):
        write_half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_folders_are_made_and_the_suffix_stays(tmp_path):
    with replacing(tmp_path / "new" / "a.png") as temporary:
        assert temporary.suffix == ".png"
        temporary.write_bytes(b"1")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.png"]


def put(path, text):
    with replacing(path) as temporary:
        temporary.write_text(text)


def test_a_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "target.csv", tmp_path / "link.csv"
    target.write_text("old")
    link.symlink_to(target)
    put(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    (tmp_path / "ahead.csv").symlink_to(tmp_path / "there" / "later.csv")  # to what is not yet there
    put(tmp_path / "ahead.csv", "new")
    assert (tmp_path / "there" / "later.csv").read_text() == "new"


def test_links_in_a_circle_are_named(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(InputError, match="a: cannot be written"):
        put(tmp_path / "a", "new")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without FIFOs")
def test_a_fifo_is_written_to(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    put(tmp_path / "fifo", "new")
    assert os.read(reader, 10) == b"new"
    os.close(reader)
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a system without /dev/full")
def test_a_device_is_written_to_and_a_full_disk_is_named():
    put("/dev/null", "new")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    with pytest.raises(InputError, match=r"/dev/full: cannot be written \(No space left on device\)"):
        put("/dev/full", "new")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_a_limit_on_sizes_is_one_line_and_nothing_half(tmp_path):
    import resource

    import torch

    (tmp_path / "state.pt").write_text("old")
    process = os.fork()
    if process == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            write_tensors(tmp_path / "state.pt", {"x": torch.zeros(10_000)})
        except InputError as error:
            os._exit(42 if "state.pt: cannot be written (File too large)" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 42
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]
    assert (tmp_path / "state.pt").read_text() == "old"


def test_names_of_any_length_and_letters(tmp_path):
    put(tmp_path / ("c" * 251 + ".csv"), "new")
    write_json(tmp_path / "a.json", {"name": os.fsdecode(b"x\xff")})
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"name": "x\udcff"}
    write_csv(tmp_path / "a.csv", [["=1+1", "-5", "heron", os.fsdecode(b"\xff")]])
    assert (tmp_path / "a.csv").read_text("utf-8") == "'=1+1,-5,heron,\\udcff\n"


def test_a_kept_mode_and_swept_leftovers(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / "a.txt").chmod(0o600)
    dead, strange = tmp_path / f"{MARK}{HOST}-999999999-1.pt", tmp_path / f"{MARK}00000000-1-1"
    dead.touch()
    strange.mkdir()
    other = tmp_path / f"{MARK}{HOST}-{os.getppid()}-1.pt"
    other.touch()
    put(tmp_path / "a.txt", "new")
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o600
    assert [dead.exists(), strange.exists(), other.exists()] == [False, True, True]
    os.utime(strange, (0, 0))
    put(tmp_path / "a.txt", "new")
    assert not strange.exists()


def test_another_error_in_the_block_stays_what_it_is(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a.txt"):
        (tmp_path / "missing").read_text()


def test_where_nothing_can_be_made_is_known_before(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    check_writable(tmp_path / "new" / "a.csv")
    for path, reason in (
        ("loop", r"Too many levels of symbolic links"),
        ("a" * 300, "File name too long"),
        ("file/a.csv", "file is not a writable directory"),
    ):
        with pytest.raises(InputError, match=f": cannot be written.*{reason}"):
            check_writable(tmp_path / path)


def test_what_fails_in_an_unfinished_folder_names_the_folder(tmp_path):
    def fill(folder):
        with writing(folder):
            temporary = unfinished(folder)
            temporary.mkdir()
            with replacing(temporary / "backbone.pt2"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(temporary / "backbone.pt2"))

    with pytest.raises(InputError, match=rf"^{tmp_path}/ex: cannot be written \(No space left on device\)"):
        fill(tmp_path / "ex")


def test_the_home_folder_of_nobody_is_one_line(monkeypatch):
    monkeypatch.setenv("FEWSHOT_CACHE", "~nobody-here/x")
    with pytest.raises(InputError, match=r"expected a path, got the home folder of an unknown user, ~nobody"):
        cache_folder()


def test_home_folders_are_found_in_one_place():
    package = Path(fewshot.__file__).parent
    found = {
        file.relative_to(package) for file in package.rglob("*.py") if ".expanduser(" in file.read_text()
    }
    assert found == {Path("core/files.py")}
