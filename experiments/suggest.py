"""What suggestions are worth: accuracy after labelling chosen images, and precision of suspected labels.

    python experiments/suggest.py FEATURES.npz

Labels: 20-way (or as many classes as there are), one support per class, a pool of 20 further images per
class; the images to label are chosen at once, and 5, 10 and 20 of them get their true label. Accuracy is that
of 15 other queries per class, inductive; the differences from labels chosen at random are paired by episode.
Suspected labels: 10, 20 and 40 % of the supports of each class are of other classes of the episode. What is
chosen and how was decided on the validation classes (the scale of the doubts also on base classes). Writes
``experiments/results/suggest.json``.
"""

import json
from collections.abc import Callable

import torch
from features import features_parser
from main_job import RESULTS, machine
from torch import Tensor

from fewshot.evaluation.inputs import ScoredData, open_source
from fewshot.evaluation.scores import interval95
from fewshot.graph.vectors import normalize
from fewshot.model.suggest import WRONG, label_doubts, most_useful

POOL, QUERY, LABELS = 20, 15, (5, 10, 20)
SHAPES = ((5, 10), (5, 20), (20, 5), (20, 10))  # ways and shots of suspected labels
Choice = Callable[[Tensor, Tensor, Tensor, torch.Generator], list[int]]


def at_random(pool: Tensor, support: Tensor, logits: Tensor, generator: torch.Generator) -> list[int]:
    return torch.randperm(len(pool), generator=generator).tolist()[: LABELS[-1]]


def least_certain(pool: Tensor, support: Tensor, logits: Tensor, generator: torch.Generator) -> list[int]:
    """Those with the smallest margin between the two most probable classes."""
    top = logits.softmax(-1).topk(2).values
    return (top[:, 0] - top[:, 1]).argsort().tolist()[: LABELS[-1]]


def suggested(pool: Tensor, support: Tensor, logits: Tensor, generator: torch.Generator) -> list[int]:
    return most_useful(pool, support, LABELS[-1]).tolist()


CHOICES: dict[str, Choice] = {"random": at_random, "least certain": least_certain, "suggested": suggested}


def accuracy(graph: torch.nn.Module, features: Tensor, labels: Tensor, query: Tensor, way: int) -> float:
    """In percent, of queries sorted by class, with these supports."""
    counts = torch.bincount(labels, minlength=way)
    support = torch.zeros(1, way, int(counts.max()), features.shape[1])
    mask = torch.zeros(support.shape[:3], dtype=torch.bool)
    for label in range(way):
        own = features[labels == label]
        support[0, label, : len(own)], mask[0, label, : len(own)] = own, True
    predicted = graph(support, query[None], support_mask=mask).logits[0].argmax(-1)
    return 100 * (predicted == torch.arange(way).repeat_interleave(QUERY)).float().mean().item()


def labelling(source: ScoredData, split: str, episodes: int, seed: int) -> list[dict]:
    """A row per choice: accuracy with the labels that it asks for, and its difference from random ones."""
    data, graph = source.features(split), source.graph.method
    items = normalize(source.transform(data.features)).view(data.num_classes, -1, data.features.shape[1])
    way = min(20, data.num_classes)
    found: dict[str, list[list[float]]] = {name: [] for name in CHOICES}
    begin = []
    for episode in range(episodes):
        generator = torch.Generator().manual_seed(1000 * seed + episode)
        own = items[torch.randperm(data.num_classes, generator=generator)[:way]]
        images = torch.rand(own.shape[:2], generator=generator).argsort(1)[:, : 1 + POOL + QUERY]
        own = own.gather(1, images[..., None].expand(-1, -1, own.shape[-1]))
        support, pool, query = own[:, 0], own[:, 1 : 1 + POOL].flatten(0, 1), own[:, 1 + POOL :].flatten(0, 1)
        true, first = torch.arange(way).repeat_interleave(POOL), torch.arange(way)
        logits = graph(support[None, :, None], pool[None]).logits[0]
        begin.append(accuracy(graph, support, first, query, way))
        for name, choose in CHOICES.items():
            order = choose(pool, support, logits, generator)
            more = [
                (torch.cat([support, pool[order[:n]]]), torch.cat([first, true[order[:n]]])) for n in LABELS
            ]
            found[name].append([accuracy(graph, *labelled, query, way) for labelled in more])
    random, rows = torch.tensor(found["random"]), []
    for name, values in found.items():
        scores = torch.tensor(values)
        above = [interval95(scores[:, i] - random[:, i]) for i in range(len(LABELS))]
        row = {"choice": name, "way": way, "episodes": episodes, "without": round(sum(begin) / len(begin), 2)}
        for i, n in enumerate(LABELS):
            row[f"accuracy {n}"] = round(scores[:, i].mean().item(), 2)
            row[f"above random {n}"], row[f"ci95 {n}"] = (round(x, 2) for x in above[i])
        rows.append(row)
        print(rows[-1], flush=True)
    return rows


def suspecting(source: ScoredData, split: str, episodes: int, seed: int) -> list[dict]:
    """A row per shape and share of wrong labels: how many suspected ones are wrong, how many are found."""
    rows = []
    for way, shot in SHAPES:
        way = min(way, source.features(split).num_classes)
        for noise in (0.1, 0.2, 0.4):
            shape = {"way": way, "shot": shot, "query": 1, "label_noise": noise}
            sampler = source.sampler(split, **shape, episodes=episodes, seed=seed)
            parts = []
            for episode in sampler:
                doubt, like = label_doubts(source.graph.method, source.transform(episode.support))
                wrong = episode.support_labels != torch.arange(way)[None, :, None]
                right_class = like == episode.support_labels
                parts.append(torch.stack([doubt > WRONG, wrong, right_class]).flatten(1))
            suspect, wrong, right_class = torch.cat(parts, 1)
            if not wrong.any():
                continue
            both = (suspect & wrong).sum().item()
            share = {
                "precision": (both, suspect),
                "recall": (both, wrong),
                "class right": ((suspect & wrong & right_class).sum().item(), suspect & wrong),
            }
            row = {"way": way, "shot": shot, "wrong": round(wrong.float().mean().item(), 3)}
            row |= {key: round(100 * a / max(1, b.sum().item()), 1) for key, (a, b) in share.items()}
            rows.append({**row, "suspected": int(suspect.sum()), "episodes": episodes})
            print(rows[-1], flush=True)
    return rows


@torch.no_grad()
def main() -> None:
    options = features_parser(__doc__).parse_args()
    source = open_source(options.features)
    content = {
        "options": {"split": options.split, "episodes": options.episodes, "seed": options.seed},
        "machine": machine(),
        "labelling": labelling(source, options.split, options.episodes, options.seed),
        "suspects": suspecting(source, options.split, options.episodes, options.seed),
    }
    if options.split == "test":
        (RESULTS / "suggest.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
