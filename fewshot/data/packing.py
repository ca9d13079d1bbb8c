"""Making a pack: decode a source's images once, into one array on disk, all or nothing."""

from __future__ import annotations

import errno
import hashlib
import os
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fewshot.core.errors import InputError
from fewshot.core.files import remove, sweep, unfinished, writing
from fewshot.core.untrusted.arrays import map_npy
from fewshot.data.labelled import SPLITS
from fewshot.data.packed import FORMAT, IMAGES_FILE, Splits, digest, labels_of, open_pack, write_meta
from fewshot.data.readers.images import Content, TooLarge, View, decode
from fewshot.data.readers.source import Source, SourceClass

DEFAULT_SIZE = 84  # for images of different sizes; the usual one of the field
THREADS = min(8, os.cpu_count() or 1)
CHUNK, CHUNK_BYTES = 16, 2**21  # images, or bytes of them, that a thread decodes at a time
LARGEST_SIDE = 1024  # pixels; larger images are not kept at their own size


class _MixedSizes(Exception):
    """The images do not all have the first one's size."""


def write_pack(source: Source, path: Path, *, size: int | None, channels: int, progress: bool) -> Splits:
    """Pack a source into the folder ``path``, which appears only once it is complete.

    Args:
        source: what to pack.
        path: the folder to create.
        size: side in pixels; None for the source's, or else the images' own if all are equal and square and
            at most 1024, or else 84.
        channels: 1 (grey) or 3 (colour).
        progress: whether to draw a progress bar on standard error.

    Raises:
        InputError: an image that cannot be decoded.
    """
    size = size or source.size
    temporary = unfinished(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        temporary.mkdir()
    try:
        with writing(path):
            try:
                shape = _write_images(source, temporary / IMAGES_FILE, size, channels, progress)
            except (_MixedSizes, TooLarge):
                shape = _write_images(source, temporary / IMAGES_FILE, DEFAULT_SIZE, channels, progress)
            write_meta(temporary, _describe(source, temporary / IMAGES_FILE, shape))
        try:
            os.replace(temporary, path)
        except OSError as error:
            # Another process made the same pack in the meantime: use that one.
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
    finally:
        remove(temporary)
    return open_pack(path)


def _classes(source: Source) -> list[SourceClass]:
    return [entry for split in SPLITS for entry in source.splits[split]]


def _write_images(
    source: Source, file: Path, size: int | None, channels: int, progress: bool
) -> tuple[int, int, int, int]:
    """Write each image to its place as it arrives; returns the array's shape."""
    keys = [key for entry in _classes(source) for key in entry.images]
    place = {key: index for index, key in enumerate(keys)}
    missing = set(keys)
    shape: tuple[int, int, int, int] | None = None
    with file.open("wb") as output:
        for key, image in _decoded(_with_progress(source, keys, progress), source.where, channels, size):
            if shape is None:
                if size is None and image.shape[1] != image.shape[2]:
                    raise _MixedSizes
                shape = (len(keys), *image.shape)
                np.lib.format.write_array_header_1_0(
                    output, {"descr": "|u1", "fortran_order": False, "shape": shape}
                )
                header = output.tell()
            if image.shape != shape[1:]:
                raise _MixedSizes
            output.seek(header + place[key] * image.size)
            output.write(image.tobytes())
            missing.discard(key)
        if missing or shape is None:
            raise InputError(f"{source.where}: {min(missing, default='every image')} went missing")
        output.flush()
        os.fsync(output.fileno())
    return shape


def _with_progress(source: Source, keys: list[str], progress: bool) -> Iterator[tuple[str, Content]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)  # unless it is a terminal, even a finished bar leaves an empty line
    shown = progress and console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task(f"packing {source.name}", total=len(keys))
        for item in source.read(keys):
            yield item
            bar.advance(task)


def _decoded(
    items: Iterator[tuple[str, Content]], where: str, channels: int, size: int | None
) -> Iterator[tuple[str, np.ndarray]]:
    """Decode in a few threads, in order; only as many images as keep them busy are in memory."""

    def work(chunk: list[tuple[str, Content]]) -> list[tuple[str, np.ndarray]]:
        decoded = []
        for key, content in chunk:
            image = decode(content, f"{where}: {key}", channels, size, LARGEST_SIDE)
            decoded.append((key, image))
        return decoded

    with ThreadPoolExecutor(THREADS) as pool:
        waiting: deque[Future[list[tuple[str, np.ndarray]]]] = deque()
        try:
            for chunk in _chunks(items):
                waiting.append(pool.submit(work, chunk))
                if len(waiting) > 2 * THREADS:
                    yield from waiting.popleft().result()
            for future in waiting:
                yield from future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _chunks(items: Iterator[tuple[str, Content]]) -> Iterator[list[tuple[str, Content]]]:
    """A few images at a time, fewer if they are large."""
    chunk, total = [], 0
    for key, content in items:
        data = content.content if isinstance(content, View) else content
        chunk.append((key, content))
        total += len(data) if isinstance(data, bytes) else data.nbytes
        if len(chunk) == CHUNK or total >= CHUNK_BYTES:
            yield chunk
            chunk, total = [], 0
    if chunk:
        yield chunk


def _describe(source: Source, file: Path, shape: tuple[int, int, int, int]) -> dict[str, Any]:
    """The content of meta.json."""
    images = torch.from_numpy(map_npy(file))
    names = iter(_unique_names(_classes(source)))
    splits, start = {}, 0
    for split in SPLITS:
        classes = [
            {
                "id": entry.id,
                "name": next(names),
                "superclass": entry.superclass,
                "taxonomy": entry.taxonomy,
                "count": len(entry.images),
                **({"path": entry.path} if entry.path else {}),
            }
            for entry in source.splits[split]
        ]
        counts = [len(entry.images) for entry in source.splits[split]]
        stop = start + sum(counts)
        class_names = tuple(str(entry["name"]) for entry in classes)
        splits[split] = {
            "hash": digest(images[start:stop], labels_of(counts), class_names),
            "classes": classes,
        }
        start = stop
    joined = "".join(str(splits[split]["hash"]) for split in SPLITS)
    return {
        "format": FORMAT,
        "name": source.name,
        "channels": shape[1],
        "size": shape[2],
        "hash": hashlib.sha256(joined.encode()).hexdigest(),
        "splits": splits,
    }


def _unique_names(classes: list[SourceClass]) -> list[str]:
    """The classes' names; if two share one (WordNet has two cranes), with their identifiers."""
    shared = Counter(entry.name for entry in classes)
    return [f"{entry.name} ({entry.id})" if shared[entry.name] > 1 else entry.name for entry in classes]
