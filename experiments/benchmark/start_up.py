"""Starting `fewshot --help`, against `python -c "import torch"`: whole processes, files in the page cache."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from measure import Line, conclude, parser, race


def process(*command: str) -> Callable[[], None]:
    return lambda: subprocess.run(command, check=True, capture_output=True) and None


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--repetitions", type=int, default=7)
    arguments = options.parse_args(argv)
    # The command that was installed next to this Python.
    ours = process(str(Path(sys.executable).parent / "fewshot"), "--help")
    theirs, empty = process(sys.executable, "-c", "import torch"), process(sys.executable, "-c", "")
    times = race({"ours": ours, "theirs": theirs, "empty": empty}, arguments.repetitions)
    # The limit is the interpreter itself.
    share = {"interpreter_ms": 1e3 * times["empty"].median}
    line = Line(
        "fewshot --help", 'python -c "import torch"', times["ours"], times["theirs"], 0.3, at_most=True,
        figures=share,
    )  # fmt: skip
    conclude("start_up", [line], arguments, extra=("interpreter_ms",))


if __name__ == "__main__":
    main()
