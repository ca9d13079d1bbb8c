"""All stages in turn, each in a process of its own, where their time goes, and one table of all targets.

    python experiments/benchmark [--data SPEC] [--features FILE]

writes one file per stage into ``runs/benchmark``; ``--results experiments/results/benchmark`` replaces the
committed figures. With a GPU, see the stages' own options.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from lines import table
from stages import parser
from summary import STAGES, rows


def run(stage: str, options: argparse.Namespace) -> bool:
    """Run a stage; returns whether it came to its end."""
    given = {"--data": options.data, "--features": options.features, "--results": options.results}
    words = [str(word) for pair in given.items() if pair[1] is not None for word in pair]
    start = time.monotonic()
    done = subprocess.run([sys.executable, str(Path(__file__).with_name(f"{stage}.py")), *words])
    print(f"({stage}: {time.monotonic() - start:.0f} s)\n", flush=True)
    return done.returncode == 0


def main(argv: list[str] | None = None) -> int:
    options = parser(__doc__)
    options.add_argument("--stages", default=",".join(STAGES), help="some of them, with commas between")
    arguments = options.parse_args(argv)
    stages = tuple(arguments.stages.split(","))
    ended = tuple(stage for stage in (*stages, "where") if run(stage, arguments))
    print(table(rows(arguments.results, [stage for stage in stages if stage in ended])))
    failed = [stage for stage in (*stages, "where") if stage not in ended]
    for stage in failed:
        print(f"{stage}: ended in an error, see above")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
