"""Damage files of every format and read them; kill trainings: nothing may crash, hang or fill the memory.

    python experiments/fuzz --minutes 10

Each case runs in a process of its own with a limit on memory and time. A file that leads to anything but a
value or one line is kept in ``runs/fuzz``, by its format's name. The corpus next to this script holds files
that broke an earlier version; each is read first, and then damaged further.
"""

import argparse
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parents[1] / "tests" / "data")]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from mutations import FORMATS, damaged  # noqa: E402
from PIL import Image  # noqa: E402

MEMORY = 2**30  # bytes above those after start-up
SECONDS = 10
CASES = 20  # per process, as starting one takes longer than a case
CONFIG = """\
name: fuzz
images: {size: 16}
backbone: {width: 4}
meta: {steps: 40, batch: 1, way: 3, query: 2, validate_every: 20}
graph: {steps: 20, batch: 2, ways: [3], shots: [1], query: 3, validate_every: 10}
evaluate: {ways: [2], shots: [1], query: 3, episodes: 20}
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=None, help="default: another one each time")
    parser.add_argument("--kills", type=int, default=None, help="default: 20, in at most half of the time")
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"))
    options = parser.parse_args()
    torch.set_num_threads(1)  # processes are forked
    warnings.simplefilter("ignore")
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    options.out.mkdir(parents=True, exist_ok=True)
    choose, begin = random.Random(seed), time.monotonic()
    kills = options.kills if options.kills is not None else 20
    kills, found = killed(kills, choose, 30 * options.minutes)
    cases = [(name, path.read_bytes()) for name, path in corpus()]
    found += read_all(cases, options.out)
    count = len(cases)
    while time.monotonic() - begin < 60 * options.minutes:
        batch = [new_case(choose) for _ in range(CASES)]
        found += read_all(batch, options.out)
        count += len(batch)
    print(f"{count} files read, {kills} trainings killed, {len(found)} findings")
    for line in found:
        print(line)
    return int(bool(found))


def corpus() -> list[tuple[str, Path]]:
    """The files of the corpus, each with its format: the name up to the first dash is free."""
    return [(path.name.partition("-")[2], path) for path in sorted((HERE / "corpus").iterdir())]


def new_case(choose: random.Random) -> tuple[str, bytes]:
    """A format's name, and a damaged file of it: of a valid one, or of one of the corpus."""
    name = choose.choice(list(FORMATS))
    kept = [path for other, path in corpus() if other == name]
    start = choose.choice(kept).read_bytes() if kept and choose.random() < 0.3 else FORMATS[name].make()
    return name, damaged(start, choose)


def read_all(cases: list[tuple[str, bytes]], out: Path) -> list[str]:
    """Read files in one process; if it does not end well, each in one of its own, and keep those at fault."""
    if in_process(cases) == "":
        return []
    found = []
    for name, content in cases:
        if reason := in_process([(name, content)]):
            path = out / f"{abs(hash(content)) % 10**8:08d}-{name}"
            path.write_bytes(content)
            found.append(f"{path}: {reason}")
    return found


def in_process(cases: list[tuple[str, bytes]]) -> str:
    """Read files in a process of their own; what went wrong, or nothing."""
    read_end, write_end = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(read_end)
        reason = limited(cases)
        os.write(write_end, reason.encode("utf-8", "replace")[:1000])
        os._exit(1 if reason else 0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        reason = pipe.read().decode("utf-8", "replace")
    _, status = os.waitpid(process, 0)
    code = os.waitstatus_to_exitcode(status)
    return reason or ("" if code == 0 else f"ended with {code}")


def limited(cases: list[tuple[str, bytes]]) -> str:
    """Read files within the limits; called in the new process."""
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    with tempfile.TemporaryDirectory() as folder:
        for name, content in cases:
            path = Path(folder) / name
            path.write_bytes(content)
            signal.alarm(SECONDS)
            try:
                FORMATS[name].read(path)
            except ValueError as error:
                if type(error).__name__ != "InputError" and not str(error).startswith("folder: expected"):
                    return f"{name}: {type(error).__name__}: {error}"
                if "MemoryError" in str(error) or "\n" in str(error):
                    return f"{name}: {error}"
            except Exception as error:
                return f"{name}: {type(error).__name__}: {error}"
            signal.alarm(0)
    return ""


def killed(times: int, choose: random.Random, seconds: float) -> tuple[int, list[str]]:
    """Kill a training at random moments, resume it, and compare its results with those of one left alone.

    Returns:
        How often that was done, within so many seconds, and what was found.
    """
    found, done, begin = [], 0, time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures(folder / "data")
        (folder / "fuzz.yaml").write_text(f"data: folder:{folder / 'data'}\n{CONFIG}")
        command = [
            sys.executable,
            "-m",
            "fewshot",
            "train",
            "--config",
            str(folder / "fuzz.yaml"),
            "--resume",
        ]
        environment = {
            **os.environ,
            "PYTHONPATH": str(HERE.parents[1]),
            "FEWSHOT_CACHE": str(folder / "cache"),
        }
        if times and (line := trained(command, folder / "whole", environment)):
            return 0, [f"not killed: {line}"]
        whole = time.monotonic() - begin
        while done < times and time.monotonic() - begin + 2 * whole < seconds:
            moment, run = choose.uniform(0.1, whole), folder / f"run-{done}"
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            process = subprocess.Popen([*command, "--out", str(run)], env=environment, **quiet)
            time.sleep(moment)
            process.kill()
            process.wait()
            line, done = trained(command, run, environment), done + 1
            expected = (folder / "whole" / "results.json").read_bytes()
            same = not line and (run / "results.json").read_bytes() == expected
            left = [path.name for path in [*run.rglob(".fewshot-*"), *folder.glob("cache/.fewshot-*")]]
            if not same or left:
                found.append(f"killed after {moment:.2f} s: {line or left or 'other results'}")
    return done, found


def pictures(folder: Path) -> None:
    """Fifteen classes of twelve pictures."""
    numbers = np.random.default_rng(0)
    for name in "abcdefghijklmno":
        (folder / name).mkdir(parents=True)
        for i in range(12):
            Image.fromarray(numbers.integers(0, 256, (16, 16), np.uint8)).save(folder / name / f"{i}.png")


def trained(command: list[str], run: Path, environment: dict[str, str]) -> str:
    """Run a training to its end; what went wrong, or nothing."""
    done = subprocess.run(
        [*command, "--out", str(run)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return "" if done.returncode == 0 else f"exit {done.returncode}: {done.stderr[-300:]}"


if __name__ == "__main__":
    sys.exit(main())
