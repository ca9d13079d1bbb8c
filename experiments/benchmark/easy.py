"""EasyFSL's side: its evaluation and methods on our episodes, called as in its documentation."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from fewshot.episodes.episode import Episode
from fewshot.episodes.sampler import EpisodeSampler

Task = tuple[Tensor, Tensor, Tensor, Tensor]  # supports, their labels, queries, their labels


def tasks(sampler: EpisodeSampler, count: int) -> list[Task]:
    """The first episodes of a sampler as single tasks."""
    found: list[Task] = []
    for episode in sampler:
        n, k = episode.support_index.shape[1:]
        labels = torch.arange(n).repeat_interleave(k)
        items = zip(episode.support.flatten(1, 2), episode.query, episode.query_labels, strict=True)
        found += [(support, labels, query, answers) for support, query, answers in items]
        if len(found) >= count:
            break
    return found[:count]


def classify(model: nn.Module, given: list[Task]) -> list[Tensor]:
    """The predicted class of each query, one task after the other."""
    found = []
    with torch.no_grad():
        for support, labels, query, _ in given:
            model.process_support_set(support, labels)
            found.append(model(query).argmax(1))
    return found


def evaluation(model: nn.Module, sampler: EpisodeSampler) -> Callable[[], float]:
    """EasyFSL's own evaluation on all episodes of a sampler, which are drawn beforehand.

    Its `TaskSampler` would draw them, but cannot be created with a recent torch (TypeError); only its
    function that assembles a task is used.
    """
    from easyfsl.datasets import FeaturesDataset
    from easyfsl.samplers import TaskSampler
    from easyfsl.utils import evaluate
    from torch.utils.data import DataLoader

    data = sampler.data
    collate: Any = object.__new__(TaskSampler)
    collate.n_way, collate.n_shot, collate.n_query = sampler.way, sampler.shot, sampler.query
    loader = DataLoader(
        FeaturesDataset(data.labels.tolist(), data.items, list(data.class_names)),
        batch_sampler=[row for episode in sampler for row in index_lists(episode)],
        collate_fn=collate.episodic_collate_fn,
    )
    return lambda: evaluate(model, loader, device="cpu", use_tqdm=False)


def index_lists(episode: Episode) -> Iterator[list[int]]:
    """The items of each episode class by class, supports before queries, in the order of a `TaskSampler`."""
    n = episode.classes.shape[1]
    for support, query, labels in zip(
        episode.support_index, episode.query_index, episode.query_labels, strict=True
    ):
        by_class = query[labels.argsort(stable=True)].view(n, -1)
        yield torch.cat([support, by_class], 1).flatten().tolist()
