"""The command line of the experiments that score test episodes of a file of features."""

import argparse
from pathlib import Path


def features_parser(about: str | None) -> argparse.ArgumentParser:
    """A parser with the file of features, the split, and the number and seed of the episodes."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--episodes", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    return parser
