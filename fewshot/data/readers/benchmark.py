"""Benchmarks as their YAML files describe them, and the differences between a pack and its benchmark."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from fewshot.core.errors import InputError
from fewshot.core.shipped import find
from fewshot.core.untrusted.documents import read_yaml
from fewshot.core.untrusted.guard import brief, reading
from fewshot.core.untrusted.plain import open_plain
from fewshot.data.labelled import SPLITS
from fewshot.data.packed import Splits

MOST_CLASSES = 10**6


@dataclass(frozen=True)
class Benchmark:
    """What a pack of a benchmark should hold.

    Args:
        classes: the identifiers of each split's classes.
        images_per_class: how many images each class has; None if that differs.
        images: how many images each split has; None if ``images_per_class`` is given.
        checksums: for each published file by name, ``md5:`` or ``sha256:`` and its digest.
        taxonomy: the path of each class from the root of a taxonomy, by identifier; empty if none is given.
    """

    classes: dict[str, tuple[str, ...]]
    images_per_class: int | None
    images: dict[str, int] | None
    checksums: dict[str, str]
    taxonomy: dict[str, str] = field(default_factory=dict)

    def split_of(self) -> dict[str, str]:
        """Each class's split."""
        return {name: split for split in SPLITS for name in self.classes[split]}


def read_benchmark(name_or_path: str | Path) -> Benchmark:
    """Read a benchmark from its YAML file, given by path or by the name of one that comes with the package.

    ``like: NAME`` takes over the content of another file. Braces in a class's identifier stand for several:
    ``a{01..03}`` and ``a{01,02,03}`` are the same.

    Raises:
        InputError: no such file, or one without classes or numbers of images.

    Example:
        >>> benchmark = read_benchmark("miniimagenet")
        >>> {split: len(classes) for split, classes in benchmark.classes.items()}, benchmark.images_per_class
        ({'train': 64, 'val': 16, 'test': 20}, 600)
    """
    file = find("datasets", name_or_path)
    with reading(file, "classes (train, val, test), and images_per_class or images of each split"):
        content = _content(file)
        return Benchmark(
            {split: _expanded(content["classes"][split], file) for split in SPLITS},
            int(content["images_per_class"]) if "images_per_class" in content else None,
            None if "images_per_class" in content else {s: int(content["images"][s]) for s in SPLITS},
            {str(name): _checksum(text, file) for name, text in content.get("checksums", {}).items()},
            {str(name): str(path) for name, path in content.get("taxonomy", {}).items()},
        )


def differences(splits: Splits, benchmark: Benchmark) -> list[str]:
    """How a pack differs from a benchmark: one line for each class or count that differs.

    Some copies name classes by words or numbers. If no identifier is the benchmark's but each split has the
    right number of classes, only images are counted.
    """
    lines = []
    foreign = _is_foreign(splits, benchmark)
    for split, data in splits:
        counts = dict(zip(data.class_ids, data.counts.tolist(), strict=True))
        there = set(counts) if foreign else set(benchmark.classes[split])
        lines += [f"{split}: class {name} is missing" for name in sorted(there - set(counts))]
        lines += [f"{split}: class {name} does not belong there" for name in sorted(set(counts) - there)]
        lines += [
            f"{split}: class {name} has {count} images, expected {benchmark.images_per_class}"
            for name, count in counts.items()
            if name in there and benchmark.images_per_class not in (None, count)
        ]
        if benchmark.images is not None and len(data) != benchmark.images[split]:
            lines.append(f"{split}: {len(data)} images, expected {benchmark.images[split]}")
    return lines


def wrong_files(path: Path, benchmark: Benchmark) -> list[str]:
    """Files at a path, in that folder or one level below, that have a published file's name but differ."""
    lines = []
    for name, published in benchmark.checksums.items():
        for file in (path if path.name == name else path / name, *path.glob(f"*/{name}")):
            if file.is_file():
                method, _, digest = published.partition(":")
                with open_plain(file) as content:
                    found = hashlib.file_digest(content, method).hexdigest()
                if found != digest:
                    lines.append(f"{file}: {method} {found}, published {digest}")
    return lines


def _is_foreign(splits: Splits, benchmark: Benchmark) -> bool:
    there = {name for _, data in splits for name in data.class_ids}
    counts = [data.num_classes for _, data in splits]
    return counts == [len(benchmark.classes[split]) for split in SPLITS] and not there & set(
        benchmark.split_of()
    )


def _content(file: Path, further: int = 3) -> dict[str, Any]:
    content = read_yaml(file)
    if "like" not in content:
        return content
    if not further:
        raise InputError(f"{file}: like: expected a file that is not like a file that is like another")
    return _content(find("datasets", content["like"]), further - 1) | content


def _checksum(text: Any, file: Path) -> str:
    method, _, digest = str(text).partition(":")
    if method not in ("md5", "sha256") or not digest:
        raise InputError(f"{file}: checksums: expected md5:… or sha256:…, got {brief(text)}")
    return str(text)


def _expanded(names: list[Any], file: Path = Path()) -> tuple[str, ...]:
    """Identifiers with their braces expanded, in order.

    >>> _expanded(["Greek/{01..03}", "n1", "{a,b}{1,2}"])
    ('Greek/01', 'Greek/02', 'Greek/03', 'n1', 'a1', 'a2', 'b1', 'b2')
    """
    found: list[str] = []
    for name in names:
        parts = [_choices(part, i) for i, part in enumerate(re.split(r"\{([^}]*)\}", str(name)))]
        if len(found) + prod(map(len, parts)) > MOST_CLASSES:
            raise InputError(f"{file}: expected at most {MOST_CLASSES:,} classes, got more in {brief(name)}")
        found += ["".join(chosen) for chosen in product(*parts)]
    return tuple(found)


def _choices(part: str, index: int) -> Sequence[str]:
    """The values of a part of a name; every second part was in braces."""
    if index % 2 == 0:
        return [part]
    first, dots, last = part.partition("..")
    if not dots:
        return part.split(",")
    if len(first) > 20:
        raise ValueError("numbers of more than 20 digits")
    numbers = range(int(first), int(last) + 1)[: MOST_CLASSES + 1]
    return [str(number).zfill(len(first)) for number in numbers]
