"""The commands of `fewshot data`; as in `fewshot.cli.entry`, a function's signature is its options."""

from __future__ import annotations

from pathlib import Path

from fewshot.cli.files import OutputFile, check_outputs, read_of_data
from fewshot.cli.output import print_info
from fewshot.core.errors import InputError
from fewshot.core.files import say, write_json


def pack(
    spec: str, *, out: Path, size: int | None = None, channels: int | None = None, seed: int = 0
) -> None:
    """Turn a data set into a packed one, to be loaded as packed:OUT.

    Example: fewshot data pack folder:photos/ --out packs/photos --size 84

    Args:
        spec: KIND[:PATH]; PATH may be a folder, a .tar or a .zip.
        out: The new folder.
        size: Side of the images in pixels; default their own if all are equal and square, else 84.
        channels: 1 (grey) or 3 (colour); default 1 for glyphs, else 3.
        seed: Of what is random in a source, such as the split of a folder.
    """
    from fewshot import data

    splits = data.pack(spec, out, size=size, channels=channels, seed=seed)
    print_info(data.info(splits))


def info(spec: str, *, json: OutputFile | None = None) -> None:
    """Describe a data set: its splits, classes and images.

    Example: fewshot data info glyphs

    Args:
        spec: KIND[:PATH]; PATH may be a folder, a .tar or a .zip.
        json: Also write the description to this file.
    """
    from fewshot import data

    check_outputs(json, inputs=read_of_data(spec))
    content = data.info(data.load(spec))
    print_info(content)
    write_json(json, content)


def check(spec: str, *, against: str | None = None) -> None:
    """Verify a data set's checksums, and compare its classes and counts with a benchmark's, class by class.

    Example: fewshot data check miniimagenet:/data/mini

    Args:
        spec: KIND[:PATH]; PATH may be a folder, a .tar or a .zip.
        against: A benchmark's name or its YAML file; default the data set's own, if it is a benchmark.
    """
    from fewshot import data

    if differences := data.check(spec, against=against):
        for line in differences:
            say(line)
        raise InputError(f"{spec}: {len(differences)} differences from {against or 'its benchmark'}")
    compared = against or data.benchmark_of(spec)
    say(f"{spec}: {'as it should be' if compared else 'intact; there is no benchmark to compare it with'}")


def download(kind: str, *, to: Path) -> None:
    """Download a data set that torchvision has, and verify its checksums.

    Example: fewshot data download cifar-fs --to data/

    Args:
        kind: cifar-fs, fc100, omniglot, omniglot-upright or omniglot-lake.
        to: The folder for the files; complete files that it has already are kept.
    """
    from fewshot import data

    say(data.download(kind, to))
