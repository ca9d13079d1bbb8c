"""Ctrl-C at any moment: one line, and the exit status that shells have for it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")

# A command that says that it works, and then waits for the signal.
WAITING = """
import sys, time
from fewshot.cli import entry, start

def command():
    print("works", flush=True)
    {rest}

entry.main = command
sys.exit(start.main())
"""
# A module that says that it is being imported, and then waits for the signal; catching it changes nothing.
SLOW = """
import time
print("works", flush=True)
try:
    time.sleep(60)
except BaseException:
    raise SystemError("what compiled code makes of it")
"""


def interrupted(*command: str, ignored: bool = False, times: int = 1) -> tuple[int, str]:
    """Exit status and standard error of Python, interrupted after its first line of output."""
    given = signal.SIG_IGN if ignored else signal.SIG_DFL  # else as whoever runs the tests has it
    with subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, given),
    ) as process:
        for _ in range(times):
            assert process.stdout is not None
            assert process.stdout.readline() == "works\n"
            process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def test_at_work() -> None:
    code = WAITING.format(rest="time.sleep(60)")
    assert interrupted("-c", code) == (130, "fewshot: interrupted\n")


def test_twice() -> None:
    """The second time nothing is waited for."""
    rest = """
    try:
        print("works", flush=True)
        time.sleep(60)
    finally:
        print("works", flush=True)
        time.sleep(60)
    """
    code = WAITING.replace('    print("works", flush=True)\n', "").format(rest=rest)
    assert interrupted("-c", code, times=2) == (130, "fewshot: interrupted\n")


@pytest.mark.parametrize("module", ["jsonargparse", "torch"])  # of the command line, and of a command
def test_during_an_import(tmp_path: Path, module: str) -> None:
    (tmp_path / f"{module}.py").write_text(SLOW)
    (tmp_path / "x.pt").touch()
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    code += f"sys.argv[1:] = ['predict', {str(tmp_path / 'x.pt')!r}, '--support', 'a', '--query', 'b']\n"
    code += "from fewshot.cli.start import main\nsys.exit(main())"
    assert interrupted("-c", code) == (130, "fewshot: interrupted\n")


def test_by_an_import(tmp_path: Path) -> None:
    (tmp_path / "jsonargparse.py").write_text("raise KeyboardInterrupt")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    code += "from fewshot.cli.start import main\nsys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "fewshot: interrupted\n")


def test_at_the_end() -> None:
    """While Python ends, after the work."""
    code = "import atexit, time\natexit.register(lambda: (print('works', flush=True), time.sleep(60)))\n"
    code += WAITING.replace('    print("works", flush=True)\n', "").format(rest="return 0")
    assert interrupted("-c", code) == (130, "fewshot: interrupted\n")


def test_where_it_is_to_be_ignored() -> None:
    """As in the background of a shell."""
    code = WAITING.format(rest="time.sleep(0.01); return 0")
    assert interrupted("-c", code, ignored=True) == (0, "")
