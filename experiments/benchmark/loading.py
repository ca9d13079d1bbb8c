"""Loading packed photographs up to the first batch, and the private memory that a pack takes.

`fewshot.load` and a first batch of episodes, against torchvision's `ImageFolder`, which reads the same images
from their files; both find the files in the page cache. The folder holds only the test classes, the pack all
classes. Private memory is what a separate process gains by reading every image of a pack.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from lines import Line
from materials import generated_images
from measure import Floor, Times, memory, race
from PIL import Image
from stages import conclude, parser
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import pil_to_tensor, resize

from fewshot.data.loading import KINDS, load
from fewshot.data.packed import PackedDataset, Splits, open_pack
from fewshot.episodes.sampler import EpisodeSampler

WAY, SHOT, QUERY = 5, 1, 15


def write_images(folder: Path, data: PackedDataset, suffix: str) -> None:
    """Write one folder per class, with the images in their order."""
    for number, (image, label) in enumerate(zip(data.items, data.labels.tolist(), strict=True)):
        file = folder / f"{label:04}" / f"{number:07}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).squeeze(-1).numpy()).save(file)


def write_source(folder: Path, kind: str, path: Path) -> None:
    """Write the files of a source's test classes unchanged, in the order of its pack."""
    source = KINDS[kind].open(path, 0)
    places = {
        key: folder / f"{label:04}" / f"{number:07}{Path(key).suffix}"
        for label, entry in enumerate(source.splits["test"])
        for number, key in enumerate(entry.images)
    }
    for key, content in source.read(places):
        assert isinstance(content, bytes)
        places[key].parent.mkdir(parents=True, exist_ok=True)
        places[key].write_bytes(content)


def prepare(spec: str | None, room: Path, images: int) -> tuple[str, Path]:
    """A SPEC to load, and a folder with the files of its test classes."""
    folder = room / "images" / "test"
    if spec is None:
        write_images(folder, generated_images(20, images, 64), ".jpg")
        return f"folder:{room / 'images'}", folder
    kind, _, path = spec.partition(":")
    if kind in KINDS and KINDS[kind].has_path:
        write_source(folder, kind, Path(path))
    else:
        write_images(folder, load(spec).test, ".png")
    return spec, folder


def read_all(pack: Path) -> int:
    """Bytes by which this process's private memory grew once every image of a pack was read."""
    np.zeros(2**20).max()  # numpy's own first allocations do not count
    before = memory().anonymous
    splits = open_pack(pack)
    for _, data in splits:
        for part in data.items.split(1024) if len(data) else ():
            part.numpy().max()
    return memory().anonymous - before


def private_memory(pack: Splits) -> int:
    """The same for a process of its own."""
    command = [sys.executable, __file__, "--read", str(pack.path)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def first_batch(spec: str, batch: int) -> Callable[[], torch.Tensor]:
    def run() -> torch.Tensor:
        data = load(spec, progress=False).test
        return next(
            iter(EpisodeSampler(data, way=WAY, shot=SHOT, query=QUERY, batch=batch, episodes=batch))
        ).query

    return run


def first_of_folder(folder: Path, indices: list[int], size: int, channels: int) -> Callable[[], torch.Tensor]:
    def picture(image: Image.Image) -> torch.Tensor:
        image = image if channels == 3 else image.convert("L")
        return pil_to_tensor(image if image.size == (size, size) else resize(image, [size, size]))

    def run() -> torch.Tensor:
        data = ImageFolder(str(folder), transform=picture)
        return torch.stack([data[index][0] for index in indices])

    return run


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--batch", type=int, default=64, help="episodes in the first batch")
    options.add_argument("--images", type=int, default=500, help="per class, if they are generated")
    options.add_argument("--repetitions", type=int, default=5)
    options.add_argument(
        "--read", type=Path, help="only read this pack, and print the private memory it took"
    )
    arguments = options.parse_args(argv)
    if arguments.read:
        print(read_all(arguments.read))
        return
    with tempfile.TemporaryDirectory() as room:
        lines = measure(Path(room), arguments)
    del arguments.read
    conclude("loading", lines, arguments)


def measure(room: Path, options: argparse.Namespace) -> list[Line]:
    spec, folder = prepare(options.data, room, options.images)
    if options.data is None:  # packs of generated images do not belong in the user's cache
        pack = load(spec, cache=room / "cache", progress=False)
        spec = f"packed:{pack.path}"
    pack = load(spec, progress=False)
    data = pack.test
    sampler = EpisodeSampler(
        data, way=WAY, shot=SHOT, query=QUERY, batch=options.batch, episodes=options.batch
    )
    episode = next(iter(sampler))
    indices = [*episode.support_index.flatten().tolist(), *episode.query_index.flatten().tolist()]
    ours = first_batch(spec, options.batch)
    theirs = first_of_folder(folder, indices, data.size, data.channels)
    ours_first, theirs_first = ours(), theirs()[-episode.query_index.numel() :]
    apart = (ours_first.flatten(0, 1).float() - theirs_first.float()).abs().mean().item()
    times = race({"ours": ours, "theirs": theirs}, options.repetitions)
    small = write_small(room)
    grown = [private_memory(one) for one in (small, pack)]
    held = [sum(part.items.nbytes for _, part in one) for one in (small, pack)]
    return [
        Line(
            f"first batch, {len(indices)} images", "torchvision ImageFolder", times["ours"], times["theirs"],
            20,
            floor=Floor(0, 2 * len(indices) * data.items[0].nbytes), figures={"pixels_apart": apart},
        ),
        Line(
            "private memory, growth", "the pack's growth",
            Times.of([max(0, grown[1] - grown[0])]), Times.of([held[1] - held[0]]), 0.01, at_most=True,
            unit="MB", figures={"private": grown, "packs": held},
        ),
    ]  # fmt: skip


def write_small(room: Path) -> Splits:
    """A pack of 200 images, for comparison."""
    write_images(room / "small" / "test", generated_images(20, 10, 64), ".jpg")
    return load(f"folder:{room / 'small'}", cache=room / "cache", progress=False)


if __name__ == "__main__":
    main()
