"""The fingerprint of episodes."""

from __future__ import annotations

import hashlib

import torch

from fewshot.core.errors import InputError
from fewshot.episodes.episode import Episode


class Fingerprint:
    """A short name for a sequence of episodes: equal only for the same images in the same places.

    It is the first 16 hexadecimal digits of the sha256 over the episodes' digests in order; an episode's
    digest is the first 8 bytes of the sha256 over its way, number of supports, support and query indices
    (int64, without padding and without queries of unknown classes). Compute it while iterating, in each
    process over its share, and merge.

    Example:
        >>> from fewshot.data.labelled import LabelledSet
        >>> from fewshot.episodes.sampler import EpisodeSampler
        >>> data = LabelledSet(torch.zeros(40, 2), torch.arange(40) // 10, ("a", "b", "c", "d"))
        >>> sampler = EpisodeSampler(data, way=3, query=4, batch=8, episodes=20)
        >>> fingerprint = Fingerprint()
        >>> for episode in sampler:
        ...     fingerprint.update(episode)
        >>> fingerprint.hexdigest() == sampler.fingerprint()
        True
    """

    def __init__(self) -> None:
        self.digests: dict[int, bytes] = {}

    def update(self, episode: Episode) -> None:
        """Add the episodes of a batch that a sampler drew."""
        if episode.numbers is None:
            raise InputError("episode: expected one that a sampler drew, got one without numbers")
        way = (episode.classes >= 0).sum(1, keepdim=True).cpu()
        support, query = episode.support_index.flatten(1).cpu(), episode.query_index.cpu()
        if episode.unknown is not None:
            query = query.masked_fill(episode.unknown.cpu(), -1)
        supports = (support >= 0).sum(1, keepdim=True)
        rows = torch.cat([way, supports, support, query], 1).numpy().astype("<i8", copy=False)
        padded = bool((rows < 0).any())
        for number, row in zip(episode.numbers.tolist(), rows, strict=True):
            self.digests[number] = hashlib.sha256(row[row >= 0] if padded else row).digest()[:8]

    def merge(self, other: Fingerprint) -> None:
        """Add the episodes that another process saw."""
        self.digests |= other.digests

    def hexdigest(self) -> str:
        """The fingerprint of all episodes so far, in the order of their numbers."""
        return hashlib.sha256(b"".join(self.digests[n] for n in sorted(self.digests))).hexdigest()[:16]
