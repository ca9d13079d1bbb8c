"""What to look at next: supports whose label looks wrong, and images whose labels would help most."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from fewshot.core.errors import InputError
from fewshot.graph.class_graph import ClassGraph
from fewshot.graph.vectors import normalize
from fewshot.model.few_shot import GraphFewShot
from fewshot.model.folder_supports import Supports, read_supports
from fewshot.model.image_files import cache_for, encode_files, query_files
from fewshot.model.predict import classify

SHARPNESS = 5.0  # of the similarity exp(SHARPNESS (cos - 1)); 3 and 10 do as well, on validation classes
ROUNDS = 4  # in which labels are judged, after those of the graph
WRONG = 0.5  # probability from which a label is suspected
MOST = 4000  # images of a pool that are compared with each other, evenly spaced


@dataclass(frozen=True)
class Suspect:
    """A support whose label looks wrong: its file and class, the class it looks like, and how sure it is."""

    file: Path
    name: str
    looks_like: str
    probability: float


@dataclass(frozen=True)
class Candidate:
    """An image to label next: its file, the class that it would get now, and that one's probability."""

    file: Path
    looks_like: str
    probability: float


@torch.no_grad()
def label_doubts(
    graph: ClassGraph, support: Float[Tensor, "B N K D"], mask: Bool[Tensor, "B N K"] | None = None
) -> tuple[Float[Tensor, "B N K"], Int64[Tensor, "B N K"]]:
    r"""How probable it is that each support's label is wrong, and which other class it looks most like.

    The probability is that of the graph's trust in labels (`fewshot.graph.trust.LabelTrust`): each support is
    compared with the sums of all classes, itself left out. It is 0 for the only support of a class. The graph
    is careful, as doubting a right label costs it more than trusting a wrong one; here the labels are judged
    some rounds more, with a scale that is larger by a factor :math:`1.5 \max(1, N / 16)^{1/4}`, chosen on
    base and validation classes.

    Args:
        graph: whose trust judges.
        support: features **[B, N, K, D]**, after the transform that is before the graph.
        mask: False where a support is padding; default None: none is.

    >>> support = torch.tensor([[[[1.0, 0], [1, 0.1], [0.1, 1]], [[0, 1], [0.1, 1], [0, 1]]]])
    >>> wrong, other = label_doubts(ClassGraph.pretrained(), support)
    >>> int(wrong.flatten().argmax()), int(other[0, 0, 2])
    (2, 1)
    """
    b, n, k, _ = support.shape
    mask = torch.ones(b, n, k, dtype=torch.bool, device=support.device) if mask is None else mask
    unit = normalize(support.masked_fill(~mask[..., None], 0.0))
    judged = graph.trust(unit, mask, mask.any(-1), None)
    if judged.assignments is None:
        return torch.zeros(b, n, k), torch.zeros(b, n, k, dtype=torch.int64)
    scale = graph.trust.log_scale + math.log(1.5 * max(1, n / 16) ** 0.25)
    for _ in range(ROUNDS):
        judged = graph.trust.judge(judged, scale)
    assert judged.assignments is not None
    own = torch.eye(n, dtype=torch.bool, device=support.device)[None, :, None]
    wrong = (1 - (judged.assignments * own).sum(-1)).clamp(0, 1) * judged.judged
    return wrong, judged.assignments.masked_fill(own, -1.0).argmax(-1)


def most_useful(
    pool: Float[Tensor, "m D"], labelled: Float[Tensor, "n D"], count: int
) -> Int64[Tensor, " count"]:
    r"""Images of a pool to label, in the order of their use: typical, unlike those labelled, and each other.

    Greedy facility location (Nemhauser et al., Mathematical Programming 1978; for active learning Wei et al.,
    ICML 2015): with :math:`k(x, y) = e^{5 (\hat x \cdot \hat y - 1)}` and the labelled images :math:`L`, the
    next one covers most of what is not covered yet,

    .. math:: \operatorname{argmax}_x \textstyle\sum_q \max(0, k(q, x) - \max_{l \in L} k(q, l))

    so an image is chosen for all those around it that nothing labelled resembles, about which predictions are
    least certain. Images at the edge, whose probabilities are just as uncertain, cover little.

    Args:
        pool: features without labels.
        labelled: those of the supports; there may be none.
        count: how many; at most m.

    >>> pool = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.1, 1.0], [-0.1, 1.0], [-1.0, 0.0]])
    >>> most_useful(pool, torch.tensor([[1.0, 0.1]]), 2)
    tensor([1, 4])
    """
    pool, labelled = normalize(pool), normalize(labelled)
    kernel = (SHARPNESS * (pool @ pool.T - 1)).exp()
    nothing = pool.new_zeros(len(pool), 1)  # what classes without images cover
    covered = torch.cat([nothing, (SHARPNESS * (pool @ labelled.T - 1)).exp()], 1).amax(1)
    chosen: list[int] = []
    for _ in range(min(count, len(pool))):
        gain = (kernel - covered[:, None]).clamp_min(0).sum(0)
        gain[chosen] = -1.0
        chosen.append(int(gain.argmax()))
        covered = torch.maximum(covered, kernel[:, chosen[-1]])
    return torch.tensor(chosen, dtype=torch.int64)


def suggest(
    model: GraphFewShot,
    support: str | Path,
    pool: str | Path | Sequence[str | Path],
    count: int = 20,
    relations: str | Path = "names",
) -> tuple[list[Suspect], list[Candidate]]:
    """Which labels of a support folder to check, the most suspect first, and which images to label next.

    Args:
        model: a trained `GraphFewShot`.
        support: a folder with one folder per class; one that is empty is a class by its name, as in
            `predict`, with no label to suspect.
        pool: an image file, a folder (all images below it), or several of them. Of more than 4,000 images
            every second, third, … is looked at.
        count: how many images to label at most; default 20.
        relations: to the model's known classes, as `predict` takes them; default "names". What an image looks
            like depends on them, not whether a label is suspected or which images to label.

    Raises:
        InputError: a folder or file that is missing or empty, an image that cannot be decoded, a count below
            1, or a model with another graph than a `ClassGraph`.
    """
    _check(model, count)
    try:
        files = query_files(pool)
    except InputError as error:
        raise InputError(f"pool{str(error).removeprefix('query')}") from None
    files = files[:: -(-len(files) // MOST)]
    supports = read_supports(model, support, relations)
    return suggestions(model, supports, files, encode_files(model, files, cache_for(model)), count)


def suggestions(
    model: GraphFewShot,
    supports: Supports,
    files: Sequence[Path],
    pool: Float[Tensor, "m D"],
    count: int = 20,
) -> tuple[list[Suspect], list[Candidate]]:
    """What `suggest` finds, from features.

    Args:
        model, count: as of `suggest`.
        supports: as `read_supports` gives them.
        files: of the pool, of which every second, third, … is looked at if they are more than 4,000.
        pool: their features, as `encode_files` gives them.

    Raises:
        InputError: as of `suggest`.
    """
    graph, here = _check(model, count), model.device
    step = -(-len(files) // MOST)
    files, pool = files[::step], pool[::step]
    mask = supports.mask.to(here)
    support = model.transform(supports.features.to(here))
    wrong, like = (found.cpu() for found in label_doubts(graph, support, mask))
    order = most_useful(model.transform(pool.to(here)), support[mask], count).cpu()
    given = supports.related.options if supports.related else {}
    logits = classify(model, supports.features, supports.mask, pool[order], **given).logits[0]
    found = logits.softmax(-1).max(-1)
    candidates = [
        Candidate(files[row], supports.names[column], probability)
        for row, column, probability in zip(
            order.tolist(), found.indices.tolist(), found.values.tolist(), strict=True
        )
    ]
    return suspects(supports.files, wrong[0], like[0]), candidates


def _check(model: GraphFewShot, count: int) -> ClassGraph:
    if count < 1:
        raise InputError(f"count: expected at least 1, got {count}")
    if not isinstance(model.graph, ClassGraph):
        raise InputError(f"model: expected one with a ClassGraph, got {type(model.graph).__name__}")
    return model.graph


def suspects(
    classes: Mapping[str, Sequence[Path]], wrong: Float[Tensor, "N K"], like: Int64[Tensor, "N K"]
) -> list[Suspect]:
    """The files whose labels are more probably wrong than right, the most suspect first.

    >>> files = {"ant": [Path("1.png"), Path("2.png")], "bee": [Path("3.png")]}
    >>> found = suspects(files, torch.tensor([[0.1, 0.75], [0.0, 0.0]]), torch.tensor([[1, 1], [0, 0]]))
    >>> [(one.file.name, one.name, one.looks_like, one.probability) for one in found]
    [('2.png', 'ant', 'bee', 0.75)]
    """
    names = list(classes)
    found = [
        Suspect(file, name, names[int(like[row, place])], float(wrong[row, place]))
        for row, (name, files) in enumerate(classes.items())
        for place, file in enumerate(files)
        if wrong[row, place] > WRONG
    ]
    return sorted(found, key=lambda one: -one.probability)
