"""Drawing episodes, 5-way 1-shot with 15 queries per class: index tensors alone, and with uint8 images.

Against learn2learn's `TaskDataset` (now `Taskset`) over tensors in memory, with the transforms of its
documentation. For index tensors alone, its tensor holds numbers in place of images, so it copies no images.
"""

import argparse
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
from lines import Line
from materials import images
from measure import Floor, Times, race
from stages import conclude, parser

from fewshot.data.packed import PackedDataset
from fewshot.episodes.sampler import EpisodeSampler

WAY, SHOT, QUERY = 5, 1, 15


def learn2learn_tasks(items: torch.Tensor, data: PackedDataset, images: int = SHOT + QUERY) -> Iterator[Any]:
    """Endless tasks of learn2learn over items that are tensors in memory, with so many images per class."""
    from learn2learn.data import MetaDataset, Taskset
    from learn2learn.data.transforms import ConsecutiveLabels, FusedNWaysKShots, LoadData, RemapLabels
    from torch.utils.data import TensorDataset

    dataset = MetaDataset(TensorDataset(items, data.labels))
    transforms = [
        FusedNWaysKShots(dataset, n=WAY, k=images),
        LoadData(dataset),
        RemapLabels(dataset),
        ConsecutiveLabels(dataset),
    ]
    return iter(Taskset(dataset, task_transforms=transforms, num_tasks=-1))


def easyfsl_error(data: PackedDataset) -> str:
    """The error of creating an EasyFSL `TaskSampler`; empty if it works."""
    from easyfsl.datasets import FeaturesDataset
    from easyfsl.samplers import TaskSampler

    dataset = FeaturesDataset(data.labels.tolist(), data.items, list(data.class_names))
    try:
        TaskSampler(dataset, n_way=WAY, n_shot=SHOT, n_query=QUERY, n_tasks=1)
    except TypeError as error:
        return f"TypeError: {error}"
    return ""


def take(stream: Iterator[Any], count: int) -> Callable[[], None]:
    """Take so many items of a stream, and drop each when the next one comes."""

    def run() -> None:
        for _ in islice(stream, count):
            pass

    return run


def draw(data: PackedDataset, episodes: int, **options: Any) -> Callable[[], None]:
    """Draw so many episodes, each time from the start."""
    sampler = EpisodeSampler(data, way=WAY, shot=SHOT, query=QUERY, episodes=episodes, **options)
    return lambda: take(iter(sampler), len(sampler))()


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--episodes", type=int, default=2048, help="of ours in a repetition")
    options.add_argument("--tasks", type=int, default=200, help="of theirs in a repetition")
    options.add_argument("--repetitions", type=int, default=9)
    arguments = options.parse_args(argv)
    lines = measure(images(arguments.data, size=64), arguments)
    conclude("sampling", lines, arguments)


def measure(data: PackedDataset, options: argparse.Namespace) -> list[Line]:
    contenders = {
        "indices": draw(data, options.episodes, gather=False),
        "kept": draw(data, options.episodes, batch=8, reuse=True),
        "fresh": draw(data, options.episodes),
    }
    note = ""
    try:
        numbers, tasks = (learn2learn_tasks(x, data) for x in (torch.arange(len(data)), data.items))
        contenders |= {"theirs, indices": take(numbers, options.tasks), "theirs": take(tasks, options.tasks)}
    except ImportError as error:
        note = str(error)
    times = race(contenders, options.repetitions)
    drawn = WAY * (SHOT + QUERY)
    indices = Floor(0, options.episodes * 8 * 2 * drawn)  # each index and its label written once
    copied = Floor(0, options.episodes * 2 * drawn * data.items[0].nbytes)  # each image read and written once

    def line(work: str, ours: str, theirs: str, target: float | None, floor: Floor) -> Line:
        against = "learn2learn TaskDataset"
        return Line(
            work, against, times[ours], times.get(theirs), target, per=options.episodes,
            theirs_per=options.tasks, floor=floor, note=note,
        )  # fmt: skip

    return [
        line("indices alone", "indices", "theirs, indices", 50, indices),
        line("with images, kept memory", "kept", "theirs", 6, copied),
        line("with images, fresh memory", "fresh", "theirs", None, copied),
        easyfsl_line(data, times["indices"], options.episodes),
    ]


def easyfsl_line(data: PackedDataset, ours: Times, episodes: int) -> Line:
    try:
        note = easyfsl_error(data)
    except ImportError as error:
        note = str(error)
    return Line("indices alone", "EasyFSL TaskSampler", ours, per=episodes, note=note)


if __name__ == "__main__":
    main()
