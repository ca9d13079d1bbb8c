"""The sampler that draws episodes."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from fewshot.core.errors import InputError
from fewshot.core.transfer import send
from fewshot.data.labelled import LabelledSet
from fewshot.episodes.draw import Scheme, at_least, check_scheme, dirichlet_parameter, draw
from fewshot.episodes.episode import Episode
from fewshot.episodes.fingerprint import Fingerprint
from fewshot.episodes.hard_classes import class_distances, nearest, path_distances
from fewshot.episodes.unknown_classes import check_unknown, draw_unknown, with_strangers

BLOCK = 128  # episodes drawn at once, whatever the batch size; another number gives other episodes
ENDLESS = 2**62
CLASSES = ("uniform", "hard", "hard:taxonomy")


class EpisodeSampler(IterableDataset[Episode]):
    """Draws N-way K-shot episodes, in batches (Vinyals et al., *Matching Networks*, 2016).

    The episodes depend on the data's labels, on `seed` and on the options that say what an episode is (`way`,
    `shot`, `query`, `classes`, `similarity`, `queries`, `label_noise`) alone: batch size, workers, processes
    and devices change nothing. Classes come in random order, no image occurs twice in an episode, queries
    come shuffled. Iterating again starts over.

    Inside a ``DataLoader(sampler, batch_size=None)`` the workers share the batches, which arrive in the same
    order as without workers.

    Args:
        data: items with class labels: images or features, on any device.
        way: classes per episode (default 5), or several numbers, one of which is drawn for each episode.
        shot: supports per class (default 1), or several numbers likewise.
        query: queries per class (default 15): N·query in all.
        batch: episodes per batch (default 64); the last batch may be smaller.
        episodes: the number of episodes; None (default): endless.
        seed: at least 0 (default 0).
        classes: "uniform" (default): every set of classes is equally likely. "hard": an anchor class is drawn
            uniformly, the others from its max(8, 2·(N−1)) nearest: by `similarity`, else by steps in the
            data's taxonomy, else same superclass first, else, for features, by the cosine of class means;
            equally near classes are in a random but fixed order. "hard:taxonomy": likewise, by steps in the
            taxonomy of the data's paths.
        similarity: ``[classes, classes]``, larger is nearer; for "hard" classes.
        queries: "balanced" (default), or "dirichlet:A": the classes' shares of the N·query queries are drawn
            from Dirichlet(A·1) (Veilleux et al., *Realistic evaluation of transductive few-shot learning*,
            2021, with A = 2) and rounded by largest remainders, so that a class may get none. If a class has
            too few images besides its supports, the others take over in proportion to their shares.
        label_noise: R in [0, 1) (default 0): exactly round(R·K) supports of each class, at random positions,
            are images of the episode's other classes, each equally likely. The classes exchange supports in
            random cycles, so the images are the same as without noise.
        unknown: U (default 0): append the queries of U further classes, drawn uniformly from those that the
            episode does not have, `query` each. The rest of the episode and its fingerprint stay the same.
        device: where the episodes go (default: items stay where the data is, indices on the CPU).
        gather: False leaves out `support` and `query` (default True).
        reuse: True gathers every batch into the same memory, which is several times as fast for images on the
            CPU, but each batch overwrites the previous one (default False). DataLoader workers never do so.
        rank, world: this process's share: every world-th episode from number rank on (default: all).
        start: number of the first episode, to resume (default 0); the last one stays ``episodes - 1``.

    Raises:
        InputError: a value out of range, an unknown scheme, a class with too few images.

    Example:
        >>> images = torch.zeros(200, 3, 8, 8, dtype=torch.uint8)
        >>> data = LabelledSet(images, torch.arange(200) // 20, tuple("abcdefghij"))
        >>> sampler = EpisodeSampler(data, way=5, shot=1, query=15, batch=8, episodes=20)
        >>> episode = next(iter(sampler))
        >>> tuple(episode.support.shape), tuple(episode.query.shape), len(sampler)
        ((8, 5, 1, 3, 8, 8), (8, 75, 3, 8, 8), 3)
    """

    def __init__(
        self,
        data: LabelledSet,
        way: int | list[int] | tuple[int, ...] = 5,
        shot: int | list[int] | tuple[int, ...] = 1,
        query: int = 15,
        batch: int = 64,
        episodes: int | None = None,
        seed: int = 0,
        *,
        classes: str = "uniform",
        similarity: Float[Tensor, "classes classes"] | None = None,
        queries: str = "balanced",
        label_noise: float = 0.0,
        unknown: int = 0,
        device: torch.device | str | None = None,
        gather: bool = True,
        reuse: bool = False,
        rank: int = 0,
        world: int = 1,
        start: int = 0,
    ) -> None:
        at_least(1, "batch", batch)
        at_least(0, "seed", seed)
        _check_share(episodes, rank, world, start)
        if classes not in CLASSES:
            raise InputError(f"classes: expected one of {', '.join(CLASSES)}, got {classes!r}")
        if similarity is not None and classes != "hard":
            raise InputError(f'similarity: expected classes="hard" with it, got {classes!r}')
        ways = tuple(way) if isinstance(way, list | tuple) else (way,)
        shots = tuple(shot) if isinstance(shot, list | tuple) else (shot,)
        self.data, self.query, self.batch, self.episodes, self.seed = data, query, batch, episodes, seed
        self.way: int | tuple[int, ...] = ways[0] if len(ways) == 1 else ways
        self.shot: int | tuple[int, ...] = shots[0] if len(shots) == 1 else shots
        self.device, self.gather, self.reuse = device, gather, reuse
        self.rank, self.world, self.start = rank, world, start
        counts, alpha = data.counts.cpu().numpy(), dirichlet_parameter(queries)
        scheme = Scheme(counts, ways, shots, query, alpha, label_noise)
        check_scheme(scheme, data.class_names)
        if classes != "uniform":
            by_paths = classes == "hard:taxonomy"
            distances = path_distances(data) if by_paths else class_distances(data, similarity)
            scheme = replace(scheme, neighbours=nearest(distances, max(8, 2 * (max(ways) - 1))))
        check_unknown(scheme, at_least(0, "unknown", unknown), data.class_names)
        self._scheme, self.unknown = scheme, unknown

    @property
    def _numbers(self) -> range:
        """The numbers of this process's episodes."""
        end = ENDLESS if self.episodes is None else self.episodes
        return range(self.start + self.rank, end, self.world)

    def __len__(self) -> int:
        """The number of batches; TypeError if it is endless."""
        if self.episodes is None:
            raise TypeError("an EpisodeSampler with episodes=None has no length")
        return math.ceil(len(self._numbers) / self.batch)

    def __iter__(self) -> Iterator[Episode]:
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        kept: dict[str, Tensor] | None = {} if self.reuse and worker is None else None
        for indices in self._indices(first, step):
            episode = _gather(indices, self.data.items, kept) if self.gather else indices
            yield episode if self.device is None else episode.to(self.device)

    def _indices(self, first: int, step: int) -> Iterator[Episode]:
        """Batches `first`, `first + step`, … of this process, without the items."""
        numbers, block, number = self._numbers, None, -1
        for begin in range(first * self.batch, len(numbers), step * self.batch):
            parts = []
            for needed, inside in groupby(numbers[begin : begin + self.batch], lambda n: n // BLOCK):
                if needed != number or block is None:
                    block, number = self._block(needed), needed
                rows = [n % BLOCK for n in inside]
                parts.append(block._rows(slice(rows[0], rows[-1] + 1, numbers.step)))
            yield Episode._join(parts)

    def _block(self, number: int) -> Episode:
        """Episodes number·BLOCK to (number+1)·BLOCK − 1, without the items."""
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=(number,))))
        drawn = draw(rng, self._scheme, BLOCK)
        classes, support, support_labels, query, query_labels, proportions = map(torch.from_numpy, drawn)
        ways, shots = isinstance(self.way, tuple), isinstance(self.shot, tuple)
        block = Episode(
            query_labels=query_labels,
            classes=classes,
            support_index=support,
            query_index=query,
            support_mask=support >= 0 if ways or shots else None,
            class_mask=classes >= 0 if ways else None,
            query_mask=query >= 0 if ways else None,
            proportions=proportions,
            support_labels=support_labels,
            numbers=torch.arange(number * BLOCK, (number + 1) * BLOCK),
        )
        if not self.unknown:
            return block
        own = np.random.SeedSequence(self.seed, spawn_key=(number, 1))  # leaves the draws above as they are
        rng = np.random.Generator(np.random.PCG64(own))
        strangers = draw_unknown(rng, self._scheme, drawn.classes, self.unknown)
        return with_strangers(block, torch.from_numpy(strangers))

    def without_unknown(self) -> EpisodeSampler:
        """The same episodes without the queries of unknown classes."""
        plain = copy.copy(self)
        plain.unknown = 0
        return plain

    def fingerprint(self) -> str:
        """The fingerprint of all episodes from `start` on, of all processes; see `Fingerprint`.

        Raises:
            InputError: an endless sampler.
        """
        if self.episodes is None:
            raise InputError("episodes: expected a number, to take a fingerprint, got None (endless)")
        whole = copy.copy(self)
        whole.rank, whole.world = 0, 1
        fingerprint = Fingerprint()
        for episode in whole._indices(0, 1):
            fingerprint.update(episode)
        return fingerprint.hexdigest()


def _check_share(episodes: int | None, rank: int, world: int, start: int) -> None:
    """Raise an InputError if these do not choose some of the episodes."""
    at_least(0, "start", start)
    at_least(1, "world", world)
    at_least(0, "rank", rank)
    if rank >= world:
        raise InputError(f"rank: expected under {world} (world), got {rank}")
    if episodes is not None:
        at_least(1, "episodes", episodes)
        if start > episodes:
            raise InputError(f"start: expected at most {episodes} (episodes), got {start}")


def _gather(episode: Episode, items: Tensor, kept: dict[str, Tensor] | None) -> Episode:
    """The episode with its items, on their device; `kept` holds the memory to use again."""

    def take(name: str, index: Tensor) -> Tensor:
        flat = send(index.flatten().clamp(min=0), items.device)  # padding takes item 0
        out = None if kept is None else kept.get(name)  # the first batch is the largest
        if out is None:
            out = _fresh(items, len(flat))
            if kept is not None:
                kept[name] = out
        # Ten times as fast as items[flat].
        taken = torch.index_select(items, 0, flat, out=out[: len(flat)])
        return taken.view(*index.shape, *items.shape[1:])

    return replace(
        episode,
        support=take("support", episode.support_index),
        query=take("query", episode.query_index),
    )


def _fresh(items: Tensor, rows: int) -> Tensor:
    """Memory for so many items.

    On the CPU it is numpy's, which asks the system for large pages: the first write of a batch of images is
    three times as fast as with small pages, each of which is fetched by a fault.
    """
    if items.device.type != "cpu":
        return items.new_empty(rows, *items.shape[1:])
    buffer = np.empty(rows * items[:1].nbytes, dtype=np.uint8)
    return torch.from_numpy(buffer).view(items.dtype).view(rows, *items.shape[1:])
