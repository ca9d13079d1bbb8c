"""From a data SPEC to its splits: pack once into the cache, then open the pack."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewshot.core.errors import InputError
from fewshot.core.escape import printable
from fewshot.core.files import cache_folder, expanded
from fewshot.core.shipped import names
from fewshot.core.untrusted.guard import reading
from fewshot.data.packed import FORMAT, META_FILE, Splits, open_pack
from fewshot.data.packing import LARGEST_SIDE, write_pack
from fewshot.data.readers import cifar, cub, folder, glyphs, miniimagenet, omniglot, tieredimagenet
from fewshot.data.readers.archives import open_archive
from fewshot.data.readers.benchmark import differences, read_benchmark, wrong_files
from fewshot.data.readers.source import Source


@dataclass(frozen=True)
class Kind:
    """A kind of source: how it is opened (from path and seed), whether it has a path, its usual channels."""

    open: Callable[[Path, int], Source]
    has_path: bool = True
    seeded: bool = False
    channels: int = 3


def _at(open: Callable[[Path], Source], channels: int = 3) -> Kind:
    """A kind of source in which nothing is random."""
    return Kind(lambda path, _: open(path), channels=channels)


KINDS = {
    "cifar-fs": _at(cifar.cifar_fs),
    "cub": _at(cub.cub),
    "cub-cropped": _at(cub.cub_cropped),
    "fc100": _at(cifar.fc100),
    "folder": Kind(folder.folder, seeded=True),
    "glyphs": Kind(lambda _, seed: glyphs.built_in_glyphs(seed), has_path=False, seeded=True, channels=1),
    "miniimagenet": _at(miniimagenet.miniimagenet),
    "omniglot": _at(omniglot.omniglot, channels=1),
    "omniglot-lake": _at(omniglot.omniglot_lake, channels=1),
    "omniglot-upright": _at(omniglot.omniglot_upright, channels=1),
    "tieredimagenet": _at(tieredimagenet.tieredimagenet),
}


def load(
    spec: str,
    *,
    size: int | None = None,
    channels: int | None = None,
    cache: str | Path | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Splits:
    """The splits of a data set, packed into the cache the first time.

    Args:
        spec: ``KIND[:PATH]``: ``glyphs``, ``folder:PATH`` (a path of a folder, .tar or .zip),
            ``packed:PATH``, or a benchmark, such as ``miniimagenet:PATH`` (see ``KINDS``).
        size: side in pixels; by default 28 for Omniglot, else the images' own if all are equal and square,
            else 84.
        channels: 1 (grey) or 3 (colour); by default 1 for glyphs and Omniglot, else 3.
        cache: folder of packs; by default the environment's ``FEWSHOT_CACHE``, else the user's cache folder.
        seed: of what is random in a source: a pool's split, the glyphs' distortion.
        progress: whether to draw a progress bar on standard error while packing.

    Raises:
        InputError: an unknown kind, a wrong path, or anything wrong with the source; the error names it.

    Example:
        >>> load("glyphs:here")
        Traceback (most recent call last):
        ...
        fewshot.InputError: data: expected glyphs, got 'glyphs:here'
    """
    kind, path = _parse(spec)
    _check_form(size, channels)
    if kind == "packed":
        splits = open_pack(path)
        for name, asked, there in (
            ("size", size, splits.test.size),
            ("channels", channels, splits.test.channels),
        ):
            if asked not in (None, there):
                raise InputError(f"{name}: expected {there}, with which {path} is packed, got {asked}")
        return splits
    channels = channels or KINDS[kind].channels
    place = cache_folder(cache) / _cache_name(kind, path, size, channels, seed)
    if place.exists():
        try:
            return open_pack(place)
        except InputError as error:
            advice = f"kept from an earlier load of {spec}; delete {place} and it is made again"
            raise InputError(f"{error} ({advice})") from None
    return write_pack(_source(kind, path, seed), place, size=size, channels=channels, progress=progress)


def pack(
    spec: str,
    out: str | Path,
    *,
    size: int | None = None,
    channels: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Splits:
    """Pack a source into a folder of its own, to be loaded as ``packed:OUT``. Arguments as for :func:`load`.

    Raises:
        InputError: ``out`` exists, or anything is wrong with the source.
    """
    kind, path = _parse(spec)
    _check_form(size, channels)
    out = expanded(out).absolute()
    if os.path.lexists(out):
        raise InputError(f"out: expected a path where nothing exists yet, got {out}")
    if kind == "packed":
        raise InputError(f"data: {path} is already a pack; copy its folder")
    channels = channels or KINDS[kind].channels
    return write_pack(_source(kind, path, seed), out, size=size, channels=channels, progress=progress)


def info(splits: Splits) -> dict[str, Any]:
    """What a data set holds, as plain values.

    Returns:
        ``name``, ``path``, ``hash``, ``size``, ``channels``, and for each of ``splits``: the numbers of
        ``classes``, ``images`` and ``superclasses``, the ``fewest`` and the ``most`` images per class, and
        whether there are a ``taxonomy`` and ``paths``.
    """
    described = {}
    for split, data in splits:
        counts = data.counts.tolist()
        described[split] = {
            "classes": data.num_classes,
            "images": len(data),
            "fewest": min(counts, default=0),
            "most": max(counts, default=0),
            "superclasses": len(set(data.superclasses or ())),
            "taxonomy": data.taxonomy is not None,
            "paths": data.paths is not None,
        }
    return {
        "name": splits.name,
        "path": str(splits.path),
        "hash": splits.hash,
        "size": splits.test.size,
        "channels": splits.test.channels,
        "splits": described,
    }


def check(spec: str, *, against: str | None = None, **options: Any) -> list[str]:
    """Hash a pack again, and compare its classes and counts with a benchmark's.

    Args:
        spec: a data SPEC, or the path of a pack.
        against: a benchmark's name (``miniimagenet``) or its YAML file; by default the one of the
            pack's name, if there is one.
        options: as for :func:`load`.

    Returns:
        One line for each class or count that differs, and for each published file with another checksum; no
        lines if everything is right.

    Raises:
        InputError: the pack is truncated or altered.
    """
    splits = _opened(spec, **options)
    splits.verify()
    against = against or _own_benchmark(splits)
    if against is None:
        return []
    benchmark = read_benchmark(against)
    path = splits.path if _is_pack(spec) else _parse(spec)[1]
    return [*differences(splits, benchmark), *wrong_files(path, benchmark)]


def benchmark_of(spec: str, **options: Any) -> str | None:
    """The benchmark with the name of a data SPEC or a pack, if there is one."""
    return _own_benchmark(_opened(spec, **options))


def _own_benchmark(splits: Splits) -> str | None:
    return splits.name if splits.name in names("datasets") else None


def _opened(spec: str, **options: Any) -> Splits:
    return open_pack(spec) if _is_pack(spec) else load(spec, **options)


def _is_pack(spec: str) -> bool:
    return (expanded(spec) / META_FILE).is_file()


def _source(kind: str, path: Path, seed: int) -> Source:
    if seed < 0:
        raise InputError(f"seed: expected a number from 0 up, got {seed}")
    with reading(path, f"the files of {kind}"):
        return KINDS[kind].open(path, seed)


def _parse(spec: str) -> tuple[str, Path]:
    """Kind and path of a SPEC."""
    kind, _, path = spec.partition(":")
    forms = {name: f"{name}:PATH" if entry.has_path else name for name, entry in KINDS.items()}
    if kind not in (*KINDS, "packed"):
        raise InputError(f"data: expected {', '.join(forms.values())} or packed:PATH, got '{spec:.200}'")
    if (kind == "packed" or KINDS[kind].has_path) != bool(path):
        raise InputError(f"data: expected {forms.get(kind, 'packed:PATH')}, got '{spec}'")
    if "\0" in path:
        raise InputError(f"data: expected a path, got {path!r:.200}")
    return kind, Path(os.path.abspath(expanded(path)))


def _check_form(size: int | None, channels: int | None) -> None:
    if size is not None and not 1 <= size <= LARGEST_SIDE:
        raise InputError(f"size: expected from 1 to {LARGEST_SIDE} pixels, got {size}")
    if channels not in (None, 1, 3):
        raise InputError(f"channels: expected 1 or 3, got {channels}")


def _cache_name(kind: str, path: Path, size: int | None, channels: int, seed: int) -> str:
    """The pack's folder in the cache; its name changes whenever the source or the options do."""
    has_path, seeded = KINDS[kind].has_path, KINDS[kind].seeded
    origin = [str(path), open_archive(path).stamp()] if has_path else [glyphs.stamp()]
    key = "\n".join([str(FORMAT), kind, *origin, str(size), str(channels), str(seed if seeded else 0)])
    # The name only helps people to recognise the folder, so a long one may be cut.
    label = f"{kind}-{printable(path.name)[:50]}" if has_path else kind
    return f"{label}-{hashlib.sha256(key.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"
